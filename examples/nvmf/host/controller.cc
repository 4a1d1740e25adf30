#include "examples/nvmf/host/controller.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/printable.h"

namespace mrpool::nvme::host {
namespace {

constexpr uint8_t kIdentifyNamespace = 0;
constexpr uint8_t kIdentifyController = 1;
constexpr uint8_t kIdentifyActiveNamespaces = 2;
constexpr uint8_t kFeatureQueues = 0x07;
constexpr uint8_t kFeatureAsyncEvents = 0x0b;
constexpr uint8_t kFeatureHostBehavior = 0x16;
constexpr uint8_t kIdentifyDescriptors = 3;
constexpr Nanoseconds kEventPause = std::chrono::milliseconds(100);
constexpr uint8_t kChangedNamespacesLog = 0x04;

constexpr Nanoseconds kPropertyPoll = std::chrono::milliseconds(10);
constexpr Nanoseconds kShutdownPatience = std::chrono::seconds(1);

absl::Status failed(const Queue& queue, absl::string_view what, const Outcome& outcome) {
  const std::string text = absl::StrCat(what, ": ", queue.describe(outcome.status));
  if (ended_here(outcome.status)) return absl::UnavailableError(text);
  if (code(outcome.status) == Status::kInvalidNamespace) return absl::NotFoundError(text);
  return absl::InternalError(text);
}

Sqe admin_command(AdminOpcode opcode, uint32_t nsid = 0) {
  Sqe command;
  command.opcode = uint8_t(opcode);
  command.nsid = nsid;
  return command;
}

}  // namespace

std::string to_string(const AsyncEvent& event) {
  static constexpr std::array kNotices{"namespace attributes changed", "firmware activation",
                                       "telemetry log changed",        "ANA changed",
                                       "latency event log aggregate",  "LBA status"};
  if (event.type == 2 && event.info < kNotices.size()) {
    return absl::StrCat("notice: ", kNotices[event.info]);
  }
  if (event.type == 2 && event.info == 0xf0) return "notice: discovery log changed";
  return absl::StrCat("event of type ", event.type, ", information ", event.info, ", log page ",
                      event.log_page);
}

// Sends Keep Alive at half the time-out. An answer that does not come is the queue's time-out.
struct Controller::KeepAlive final : Timer, Request {
  explicit KeepAlive(Controller& owner)
      : Timer(to_method<&KeepAlive::expired>),
        Request(to_method<&KeepAlive::answered>),
        controller(owner) {
    command = admin_command(AdminOpcode::kKeepAlive);
  }
  void expired() {
    if (in_flight || !controller.admin_->ready()) return;
    in_flight = true;
    controller.admin_->submit(*this);
  }
  void answered(const Outcome& outcome) {
    in_flight = false;
    if (ok(outcome.status)) {
      start();
    } else if (controller.admin_->ready()) {
      controller.admin_->abort(
          absl::StrCat("Keep Alive: ", controller.admin_->describe(outcome.status)));
    }
  }
  void start() {
    const Nanoseconds period = controller.options_.keep_alive / 2;
    if (period.count() > 0) arm(controller.admin_->reactor(), period);
  }
  Controller& controller;
  bool in_flight = false;
};

absl::StatusOr<std::unique_ptr<Controller>> Controller::create(const ControllerOptions& options,
                                                               Owner& owner) {
  std::unique_ptr<Controller> controller(new Controller(options, owner));
  QueueOptions admin = options.admin;
  admin.queue_id = 0;
  admin.keep_alive_ms = uint32_t(options.keep_alive / std::chrono::milliseconds(1));
  if (options.keep_alive.count() > 0) {
    admin.command_timeout = std::min(admin.command_timeout, options.keep_alive);
  }
  auto queue = Queue::create(admin, *controller);
  if (!queue.ok()) return queue.status();
  controller->admin_ = *std::move(queue);
  controller->keep_alive_ = std::make_unique<KeepAlive>(*controller);
  return controller;
}

Controller::Controller(const ControllerOptions& options, Owner& owner)
    : options_(options), owner_(owner) {}

Controller::~Controller() {
  if (keep_alive_ != nullptr) end();
}

void Controller::end() {
  keep_alive_->cancel();
  stop_watching();
  admin_->end();
}

void Controller::on_lost(Queue&, const std::string& why) {
  keep_alive_->cancel();
  stop_watching();
  owner_.on_controller_lost(*this, why);
}

Async<absl::Status> Controller::connect() {
  stop_watching();
  absl::Status status = co_await admin_->open(kDynamicController);
  if (!status.ok()) co_return status;
  status = co_await enable();
  if (status.ok()) {
    status =
        co_await identify(kIdentifyController, 0, std::as_writable_bytes(std::span(&identity_, 1)));
  }
  if (status.ok()) status = co_await accept_retry_delays();
  if (!status.ok()) {
    co_await admin_->close();
    co_return status;
  }
  keep_alive_->start();
  if (options_.async_events) spawn(watch_events());
  co_return absl::OkStatus();
}

Async<absl::Status> Controller::enable() {
  const auto capabilities = co_await get_property(Property::kCap);
  if (!capabilities.ok()) co_return capabilities.status();
  capabilities_ = *capabilities;
  const absl::Status set = co_await set_property(Property::kCc, kCcEntrySizes | kCcEnable);
  if (!set.ok()) co_return set;
  // CAP.TO: the longest the controller may take, in units of 500 ms.
  const Nanoseconds patience =
      std::chrono::milliseconds(500) * std::max<uint64_t>(capabilities_ >> 24 & 0xff, 1);
  Reactor& reactor = admin_->reactor();
  const Nanoseconds begun = reactor.now();
  for (;;) {
    const auto state = co_await get_property(Property::kCsts);
    if (!state.ok()) co_return state.status();
    if ((*state & kCstsFatal) != 0) {
      co_return absl::UnavailableError("the controller reports a fatal error (CSTS.CFS)");
    }
    if ((*state & kCstsReady) != 0) co_return absl::OkStatus();
    if (reactor.now() - begun > patience) {
      co_return absl::DeadlineExceededError("the controller did not become ready within CAP.TO");
    }
    co_await pause(reactor, kPropertyPoll);
  }
}

Async<> Controller::disconnect() {
  keep_alive_->cancel();
  if (admin_->ready()) {
    const absl::Status set =
        co_await set_property(Property::kCc, kCcEntrySizes | kCcEnable | kCcShutdownNormal);
    Reactor& reactor = admin_->reactor();
    const Nanoseconds begun = reactor.now();
    while (set.ok() && reactor.now() - begun < kShutdownPatience) {
      const auto state = co_await get_property(Property::kCsts);
      if (!state.ok() || (*state & kCstsShutdownComplete) != 0) break;
      co_await pause(reactor, kPropertyPoll);
    }
  }
  co_await admin_->close();
}

uint64_t Controller::max_transfer() const {
  constexpr uint64_t kLargestKeyed = uint64_t{8} << 20;  // SglDescriptor::kMaxKeyedLength, rounded
  if (identity_.mdts == 0) return kLargestKeyed;
  const uint64_t page = uint64_t{1} << (12 + (capabilities_ >> 48 & 0xf));  // CAP.MPSMIN
  return identity_.mdts >= 32 ? kLargestKeyed : std::min(page << identity_.mdts, kLargestKeyed);
}

uint32_t Controller::in_capsule_bytes() const {
  const uint32_t capsule = le(identity_.ioccsz) * 16;
  // No controller is known whose data does not start directly after the SQE (ICDOFF).
  return capsule > sizeof(Sqe) && le(identity_.icdoff) == 0 ? capsule - uint32_t(sizeof(Sqe)) : 0;
}

Async<absl::StatusOr<uint64_t>> Controller::get_property(Property property) {
  PropertyCommand get;
  get.type = FabricsType::kPropertyGet;
  get.attributes = property == Property::kCap ? kPropertySize8 : 0;
  get.offset = uint32_t(property);
  Queue::Execution execution = admin_->execute(read_struct<Sqe>(bytes_of(get)));
  const Outcome outcome = co_await execution;
  if (!ok(outcome.status)) co_return failed(*admin_, "Property Get", outcome);
  co_return property == Property::kCap ? outcome.result : uint32_t(outcome.result);
}

Async<absl::Status> Controller::set_property(Property property, uint32_t value) {
  PropertyCommand set;
  set.type = FabricsType::kPropertySet;
  set.offset = uint32_t(property);
  set.value = value;
  Queue::Execution execution = admin_->execute(read_struct<Sqe>(bytes_of(set)));
  const Outcome outcome = co_await execution;
  if (!ok(outcome.status)) co_return failed(*admin_, "Property Set", outcome);
  co_return absl::OkStatus();
}

Async<absl::Status> Controller::fetch(Sqe command, std::span<std::byte> out, const char* what) {
  auto buffer = load::Buffer::create(*options_.admin.pd, out.size());
  if (!buffer.ok()) co_return buffer.status();
  Queue::Execution execution = admin_->execute(command, buffer->sge());
  const Outcome outcome = co_await execution;
  if (!ok(outcome.status)) co_return failed(*admin_, what, outcome);
  std::memcpy(out.data(), buffer->bytes().data(), out.size());
  co_return absl::OkStatus();
}

Async<absl::Status> Controller::identify(uint8_t cns, uint32_t nsid, std::span<std::byte> out) {
  Sqe command = admin_command(AdminOpcode::kIdentify, nsid);
  command.cdw10 = cns;
  return fetch(command, out, "Identify");
}

Async<absl::Status> Controller::log_page(uint8_t page, uint64_t offset, std::span<std::byte> out,
                                         uint32_t nsid) {
  Sqe command = admin_command(AdminOpcode::kGetLogPage, nsid);
  const auto dwords0 = uint32_t(out.size() / 4 - 1);
  command.cdw10 = page | (dwords0 & 0xffff) << 16;
  command.cdw11 = dwords0 >> 16;
  command.cdw12 = uint32_t(offset);
  command.cdw13 = uint32_t(offset >> 32);
  return fetch(command, out, "Get Log Page");
}

Async<absl::StatusOr<uint16_t>> Controller::set_queue_count(uint16_t wanted) {
  Sqe command = admin_command(AdminOpcode::kSetFeatures);
  command.cdw10 = kFeatureQueues;
  const uint32_t wanted0 = wanted - 1u;
  command.cdw11 = wanted0 << 16 | wanted0;
  Queue::Execution execution = admin_->execute(command);
  const Outcome outcome = co_await execution;
  if (!ok(outcome.status)) co_return failed(*admin_, "Set Features, number of queues", outcome);
  const uint32_t sqs = uint32_t(outcome.result & 0xffff) + 1;
  const uint32_t cqs = uint32_t(outcome.result >> 16 & 0xffff) + 1;
  co_return uint16_t(std::min({uint32_t(wanted), sqs, cqs}));
}

Async<absl::StatusOr<std::vector<uint32_t>>> Controller::active_namespaces() {
  std::vector<uint32_t> all;
  uint32_t list[1024];
  uint32_t after = 0;
  bool more = true;
  while (more) {
    const absl::Status status = co_await identify(kIdentifyActiveNamespaces, after,
                                                  std::as_writable_bytes(std::span(list)));
    if (!status.ok()) co_return status;
    for (const uint32_t nsid : list) {
      // Numbers rise; a full list is followed by another one.
      more = le(nsid) > after;
      if (!more) break;
      after = le(nsid);
      all.push_back(after);
    }
    if (all.size() > kMaxNamespaces) {
      co_return absl::ResourceExhaustedError(
          absl::StrCat("the controller lists more than ", kMaxNamespaces, " namespaces"));
    }
  }
  co_return all;
}

Async<absl::StatusOr<nvme_id_ns>> Controller::identify_namespace(uint32_t nsid) {
  nvme_id_ns info;
  const absl::Status status =
      co_await identify(kIdentifyNamespace, nsid, std::as_writable_bytes(std::span(&info, 1)));
  if (!status.ok()) co_return status;
  co_return info;
}

Async<absl::StatusOr<NamespaceInfo>> Controller::namespace_info(uint32_t nsid, Look look) {
  auto info = co_await identify_namespace(nsid);
  if (!info.ok() && absl::IsUnavailable(info.status())) co_return info.status();
  if (!info.ok() || le(info->nsze) == 0) {
    const auto active = co_await active_namespaces();
    if (!active.ok()) co_return active.status();
    if (look == Look::kFirst && std::ranges::find(*active, nsid) != active->end()) {
      co_return co_await namespace_info(nsid, Look::kAgain);
    }
    co_return absl::NotFoundError(
        absl::StrCat("the subsystem has no namespace ", nsid,
                     active->empty() ? "; it has none at all"
                                     : absl::StrCat("; it has ", absl::StrJoin(*active, ", "))));
  }
  std::vector<std::byte> descriptors(4096);
  const absl::Status read = co_await identify(kIdentifyDescriptors, nsid, descriptors);
  if (absl::IsUnavailable(read)) co_return read;
  if (!read.ok()) descriptors.clear();  // optional in old controllers
  auto ns = parse_namespace(nsid, *info, descriptors);
  // At least the subsystem has a name of its own.
  if (ns.ok() && ns->identifiers.empty()) {
    ns->identifiers = absl::StrCat("serial:", base::printable({identity_.sn, sizeof identity_.sn}));
  }
  co_return ns;
}

Async<absl::StatusOr<std::string>> Controller::identifiers(uint32_t nsid, const nvme_id_ns& info) {
  std::vector<std::byte> descriptors(4096);
  const absl::Status read = co_await identify(kIdentifyDescriptors, nsid, descriptors);
  if (absl::IsUnavailable(read)) co_return read;
  if (!read.ok()) descriptors.clear();
  co_return namespace_identifiers(info, descriptors);
}

Async<absl::Status> Controller::check_identifiers(const NamespaceInfo& was) {
  std::vector<std::byte> descriptors(4096);
  const absl::Status read = co_await identify(kIdentifyDescriptors, was.nsid, descriptors);
  if (absl::IsUnavailable(read)) co_return read;
  const std::string now = read.ok() ? namespace_identifiers({}, descriptors) : "";
  if (now.empty()) co_return absl::OkStatus();  // optional in old controllers
  NamespaceInfo is = was;
  is.identifiers = now;
  co_return check_same(was, is);
}

RetryDelays Controller::retry_delays() const {
  const auto delay = [](uint16_t units) { return std::chrono::milliseconds(100) * units; };
  return {delay(le(uint16_t(identity_.crdt1))), delay(le(uint16_t(identity_.crdt2))),
          delay(le(uint16_t(identity_.crdt3)))};
}

// Advanced Command Retry Enable: without it the controller names no delays.
Async<absl::Status> Controller::accept_retry_delays() {
  admin_->set_retry_delays(retry_delays());
  if (identity_.crdt1 == 0) co_return absl::OkStatus();
  auto buffer = load::Buffer::create(*options_.admin.pd, 512);
  if (!buffer.ok()) co_return buffer.status();
  buffer->bytes()[0] = std::byte{1};
  Sqe command = admin_command(AdminOpcode::kSetFeatures);
  command.cdw10 = kFeatureHostBehavior;
  Queue::Execution execution = admin_->execute(command, buffer->sge());
  const Outcome outcome = co_await execution;
  if (ok(outcome.status)) co_return absl::OkStatus();
  // One that refuses it names no delays.
  const absl::Status status = failed(*admin_, "Set Features, host behavior", outcome);
  co_return absl::IsUnavailable(status) ? status : absl::OkStatus();
}

void Controller::stop_watching() {
  watching_ = false;
  event_pause_.cancel();
  may_ask_.set();
}

Async<> Controller::watch_events() {
  watching_ = true;
  // Ask for every kind of notice the controller can give (OAES has the bits of the feature).
  Sqe enable = admin_command(AdminOpcode::kSetFeatures);
  enable.cdw10 = kFeatureAsyncEvents;
  constexpr uint32_t kNamespaces = 1u << 8, kAccess = 1u << 11, kDiscoveryLog = 1u << 31;
  enable.cdw11 =
      le(identity_.oaes) & (kNamespaces | kDiscoveryLog | (options_.access_events ? kAccess : 0));
  Queue::Execution enabling = admin_->execute(enable);
  const Outcome enabled = co_await enabling;
  if (!ok(enabled.status) && absl::IsUnavailable(failed(*admin_, "Set Features", enabled))) {
    co_return;
  }
  for (;;) {
    Queue::Execution wait = admin_->execute(admin_command(AdminOpcode::kAsyncEventRequest));
    wait.or_wait_forever();
    const Outcome outcome = co_await wait;
    if (!ok(outcome.status)) co_return;
    const AsyncEvent event{.type = uint8_t(outcome.result & 7),
                           .info = uint8_t(outcome.result >> 8),
                           .log_page = uint8_t(outcome.result >> 16)};
    // Reading the page clears the event in the controller.
    std::vector<std::byte> page(event.log_page == kChangedNamespacesLog ? 4096 : 512);
    const absl::Status read = co_await log_page(event.log_page, 0, page, kBroadcastNsid);
    if (absl::IsUnavailable(read)) co_return;
    may_ask_.reset();
    event_pause_.arm(admin_->reactor(), kEventPause);
    owner_.on_async_event(*this, event);
    co_await may_ask_;
    if (!watching_) co_return;
  }
}

}  // namespace mrpool::nvme::host
