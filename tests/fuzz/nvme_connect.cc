// Connect, properties and the admin commands of hosts that compete for controllers, against the
// target's logic. Connect commands and their data have any form, queues connect and disconnect, and
// the configuration changes meanwhile.
//
// For every input: only an allowed host gets a controller, and only of an existing subsystem. An
// I/O queue joins only a controller of the same host, host id and subsystem, each number once. A
// refusal names an existing byte. No controller outlives its admin queue.
#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "examples/nvmf/target/target.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::nvmf_target {
namespace {

using nvme::Status;

constexpr std::string_view kNqns[] = {"nqn.2024-01.org.example:open",
                                      "nqn.2024-01.org.example:private", nvme::kDiscoveryNqn,
                                      "nqn.2024-01.org.example:none"};
constexpr uint32_t kMasked = 9;  // the namespace of the first host alone
constexpr std::string_view kHosts[] = {"nqn.2024-01.org.example:a", "nqn.2024-01.org.example:b",
                                       "nqn.2024-01.org.example:c", "no nqn"};

struct Engine final : ControllerHost {
  void events_ready(QueueRef) override {}
  void drop_queue(QueueRef queue) override { dropped.insert(queue.id); }
  void connect_again(QueueRef queue) override { again.insert(queue.id); }
  std::set<uint64_t> again;
  std::set<uint64_t> dropped;
};

struct HostQueue {
  uint64_t ref = 0;
  uint16_t id = 0;
  std::shared_ptr<Controller> controller;
};

class Run {
 public:
  explicit Run(fuzz::Input& input) : input_(input) { serve(0xff); }

  void run() {
    for (int i = 0; i < 64 && !input_.empty(); ++i) {
      step();
      check();
    }
    while (!queues_.empty()) leave(0);
    drain();
    FUZZ_CHECK(target_.controllers() == 0);
    FUZZ_CHECK(waiting_.empty());
  }

 private:
  static constexpr uint32_t kMaxControllers = 6;

  void serve(uint8_t which) {
    std::vector<Target::Served> served;
    open_ = (which & 1) != 0;
    private_ = (which & 2) != 0;
    host_b_ = (which & 4) != 0;
    if (open_) {
      served.push_back({});
      served.back().options.nqn = kNqns[0];
      served.back().options.serial = (which & 8) != 0 ? "1" : "2";
      served.back().namespaces.push_back({.nsid = 1, .volume = volume_});
      if ((which & 16) != 0) {
        served.back().namespaces.push_back({.nsid = 7, .volume = volume_});
      }
      if ((which & 32) != 0) {
        served.back().namespaces.push_back(
            {.nsid = kMasked,
             .volume = volume_,
             .hosts = std::make_shared<const HostSet>(HostSet{std::string(kHosts[0])})});
      }
    }
    if (private_) {
      served.push_back({});
      served.back().options.nqn = kNqns[1];
      served.back().options.serial = "3";
      served.back().options.allow_any_host = false;
      served.back().options.hosts = {std::string(kHosts[0])};
      if (host_b_) served.back().options.hosts.insert(std::string(kHosts[1]));
    }
    target_.apply(std::move(served), {{.address = "0.0.0.0", .port = 4420, .id = 1}});
  }

  bool served_to(std::string_view nqn, std::string_view host) const {
    if (nqn == kNqns[2]) return true;
    if (nqn == kNqns[0]) return open_;
    return nqn == kNqns[1] && private_ && (host == kHosts[0] || (host_b_ && host == kHosts[1]));
  }

  void step() {
    const uint8_t choice = input_.take<uint8_t>();
    switch (choice & 7) {
      case 0:
      case 1:
      case 2:
        return connect(choice >> 3);
      case 3:
        return serve(input_.take<uint8_t>());
      case 4:
        if (!queues_.empty()) leave(input_.take<uint8_t>() % queues_.size());
        if ((choice & 8) == 0) drain();
        return;
      case 5:
        now_ += std::chrono::milliseconds(input_.take<uint16_t>());
        return;
      default:
        if (!queues_.empty()) command((choice & 7) == 6, input_.take<uint8_t>() % queues_.size());
        return;
    }
  }

  void connect(uint8_t form) {
    nvme::ConnectCommand command;
    nvme::ConnectData data{};
    QueueFacts facts;
    facts.ref = {0, next_ref_++};
    facts.local_address = "127.0.0.1:4420";
    facts.entries = 32;
    const uint8_t who = input_.take<uint8_t>();
    const uint8_t what = input_.take<uint8_t>();
    facts.cm_queue_id = uint16_t(what >> 4) % 6;
    command.queue_id = facts.cm_queue_id;
    command.sq_size0 = uint16_t(31);
    data.cntlid = nvme::le(facts.cm_queue_id == 0 ? nvme::kDynamicController
                                                  : uint16_t(input_.take<uint8_t>()));
    std::memset(data.hostid, who >> 6, sizeof data.hostid);
    nvme::set_field(data.subsysnqn, kNqns[what & 3]);
    nvme::set_field(data.hostnqn, kHosts[who & 3]);
    if ((form & 1) != 0) {  // any bytes of the command but those that make it a Connect
      input_.fill(std::as_writable_bytes(std::span(&command, 1)).subspan(40));
    }
    if ((form & 2) != 0) {  // a byte of the data
      const size_t at = input_.take<uint16_t>() % sizeof data;
      reinterpret_cast<uint8_t*>(&data)[at] = input_.take<uint8_t>();
    }
    if ((form & 4) != 0) {  // a field without an end
      char(&field)[256] = (who & 16) != 0 ? data.subsysnqn : data.hostnqn;
      std::memset(field, who, sizeof field);
    }
    if ((form & 8) != 0) facts.entries = input_.take<uint8_t>();
    engine_.dropped.clear();
    const size_t before = target_.controllers();
    const Connected connected = target_.connect(command, data, facts, now_);
    if (connected.wait) {
      // Waits for a queue that disconnected, or for a reset, which here ends with its queues.
      FUZZ_CHECK(connected.controller == nullptr && target_.controllers() == before);
      FUZZ_CHECK(!draining_.empty() || command.queue_id != 0);
      waiting_.insert(facts.ref.id);
      return;
    }
    FUZZ_CHECK(ok(connected.status) == (connected.controller != nullptr));
    if (!ok(connected.status)) {
      refused(connected, before);
      return;
    }
    const std::string_view nqn = nvme::field_string(data.subsysnqn);
    const std::string_view host = nvme::field_string(data.hostnqn);
    const Controller::Identity& identity = connected.controller->identity();
    FUZZ_CHECK(connected.result == identity.id && identity.id != 0);
    FUZZ_CHECK(command.queue_id == facts.cm_queue_id && command.record_format == 0);
    FUZZ_CHECK(uint32_t(command.sq_size0) + 1 <= facts.entries && command.sq_size0 != 0);
    FUZZ_CHECK(identity.host_nqn == host);
    FUZZ_CHECK(std::equal(identity.host_id.begin(), identity.host_id.end(), data.hostid));
    FUZZ_CHECK(identity.discovery == (nqn == kNqns[2]));
    if (command.queue_id == 0) {
      FUZZ_CHECK(served_to(nqn, host));
      FUZZ_CHECK(target_.controllers() == std::min<size_t>(before + 1, kMaxControllers));
      for (const HostQueue& other : queues_) {
        FUZZ_CHECK(other.controller->identity().id != identity.id);
      }
    } else {
      FUZZ_CHECK(!identity.discovery && command.queue_id <= kMaxIoQueues);
      FUZZ_CHECK(connected.controller->subsystem().nqn == nqn);
      FUZZ_CHECK(connected.controller->enabled());
      for (const HostQueue& other : queues_) {
        FUZZ_CHECK(other.controller != connected.controller || other.id != command.queue_id);
      }
    }
    if (command.queue_id == 0 && before == kMaxControllers) made_room();
    queues_.push_back({facts.ref.id, command.queue_id, connected.controller});
  }

  // A discovery controller was asked to end, and ends.
  void made_room() {
    const auto gone = std::ranges::find_if(
        queues_, [&](const HostQueue& queue) { return engine_.dropped.contains(queue.ref); });
    FUZZ_CHECK(gone != queues_.end() && gone->controller->identity().discovery);
    leave(size_t(gone - queues_.begin()));
  }

  void refused(const Connected& connected, size_t before) const {
    FUZZ_CHECK(target_.controllers() == before);
    const Status status = nvme::code(connected.status);
    FUZZ_CHECK(!nvme::to_string(connected.status, true).starts_with("status "));
    if (status == Status::kConnectInvalidParameters) {
      const bool in_data = connected.result >> 16 == 1;
      FUZZ_CHECK(in_data || connected.result >> 16 == 0);
      FUZZ_CHECK((connected.result & 0xffff) <
                 (in_data ? sizeof(nvme::ConnectData) : sizeof(nvme::ConnectCommand)));
    } else {
      FUZZ_CHECK(connected.result == 0);
    }
  }

  void leave(size_t index) {
    const HostQueue gone = queues_[index];
    queues_.erase(queues_.begin() + ptrdiff_t(index));
    engine_.dropped.clear();
    target_.disconnected(*gone.controller, gone.id);
    draining_.push_back(gone);
    if (gone.id != 0) return;
    // The other queues of the association are asked to end, and end.
    for (size_t i = queues_.size(); i-- > 0;) {
      if (queues_[i].controller != gone.controller) continue;
      FUZZ_CHECK(engine_.dropped.contains(queues_[i].ref));
      target_.disconnected(*gone.controller, queues_[i].id);
      draining_.push_back(queues_[i]);
      queues_.erase(queues_.begin() + ptrdiff_t(i));
    }
  }

  // The storage I/O of ended queues has completed: all waiting Connects are notified.
  void drain() {
    for (const HostQueue& queue : std::exchange(draining_, {})) {
      target_.drained(*queue.controller, queue.id);
    }
    for (const uint64_t ref : engine_.again) waiting_.erase(ref);
    engine_.again.clear();
  }

  void command(bool admin, size_t index) {
    const HostQueue queue = queues_[index];
    Controller& controller = *queue.controller;
    AdminReply reply;
    if (admin) {
      nvme::Sqe sqe;
      sqe.opcode = input_.take<uint8_t>();
      sqe.command_id = input_.take<uint8_t>();
      sqe.nsid = uint32_t(input_.take<uint8_t>());
      sqe.cdw10 = input_.take<uint32_t>();
      sqe.cdw11 = input_.take<uint32_t>();
      sqe.cdw12 = input_.take<uint32_t>();
      const uint64_t length = input_.take<uint8_t>() * uint64_t{128};
      reply = controller.admin(sqe, length, now_);
      const bool reads = reply.kind == AdminReply::Kind::kReply && ok(reply.status);
      FUZZ_CHECK(!reads || reply.data.size() == length || reply.data.empty());
      if (reply.kind == AdminReply::Kind::kAbort) controller.abort_finished();
      check_mask(sqe, controller.identity(), reply);
    } else {
      nvme::PropertyCommand property;
      const uint8_t which = input_.take<uint8_t>();
      property.attributes = which >> 5;
      property.offset = (which & 1) != 0 ? uint32_t(nvme::Property::kCc) : uint32_t(which & 0x3e);
      property.value = (which & 2) != 0 ? uint64_t(nvme::kCcEnable | nvme::kCcEntrySizes)
                                        : uint64_t(input_.take<uint32_t>());
      reply = (which & 16) != 0 ? controller.property_get(property)
                                : controller.property_set(property, now_);
      FUZZ_CHECK(reply.kind == AdminReply::Kind::kReply && reply.data.empty());
    }
    FUZZ_CHECK(!nvme::to_string(reply.status).starts_with("status "));
    parked_ += reply.kind == AdminReply::Kind::kPark;
    for (const AsyncCompletion& event : controller.take_events()) {
      FUZZ_CHECK(parked_ > 0);
      --parked_;
      FUZZ_CHECK(event.command_id < 256);
    }
  }

  // Only its host learns of the masked namespace.
  static void check_mask(const nvme::Sqe& sqe, const Controller::Identity& identity,
                         const AdminReply& reply) {
    if (identity.host_nqn == kHosts[0] || reply.data.size() != 4096) return;
    const uint32_t which = sqe.cdw10 & 0xff;
    const bool identify = sqe.opcode == uint8_t(nvme::AdminOpcode::kIdentify);
    const bool list = identify ? which == NVME_IDENTIFY_CNS_NS_ACTIVE_LIST ||
                                     which == NVME_IDENTIFY_CNS_CSI_NS_ACTIVE_LIST
                               : sqe.opcode == uint8_t(nvme::AdminOpcode::kGetLogPage) &&
                                     which == NVME_LOG_LID_CHANGED_NS;
    if (list) {
      const auto nsids = nvme::read_struct<nvme_ns_list>(reply.data);
      FUZZ_CHECK(std::ranges::find(nsids.ns, nvme::le(kMasked)) == std::end(nsids.ns));
    } else if (identify && which == NVME_IDENTIFY_CNS_NS && sqe.nsid == kMasked) {
      FUZZ_CHECK(std::ranges::all_of(reply.data, [](std::byte b) { return b == std::byte{}; }));
    } else if (identify && sqe.nsid == kMasked) {
      FUZZ_CHECK(which != NVME_IDENTIFY_CNS_NS_DESC_LIST);
    }
  }

  void check() const {
    size_t admin_queues = 0;
    for (const HostQueue& queue : queues_) admin_queues += queue.id == 0;
    FUZZ_CHECK(target_.controllers() == admin_queues);
    FUZZ_CHECK(admin_queues <= kMaxControllers);
  }

  fuzz::Input& input_;
  Engine engine_;
  std::shared_ptr<storage::Volume> volume_ = *storage::open("ram:4KiB");
  Target target_{{.workers = 1, .in_capsule = 4096, .max_controllers = kMaxControllers}, engine_};
  std::vector<HostQueue> queues_;
  std::vector<HostQueue> draining_;  // left, but not done with the storage
  std::set<uint64_t> waiting_;       // Connects that were held back
  uint64_t next_ref_ = 1;
  Nanoseconds now_ = std::chrono::seconds(100);
  size_t parked_ = 0;
  bool open_ = false, private_ = false, host_b_ = false;
};

}  // namespace
}  // namespace mrpool::nvmf_target

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  mrpool::nvmf_target::Run(input).run();
  return 0;
}
