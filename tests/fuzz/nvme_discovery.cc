// Discovery: a discovery controller whose log is read in arbitrary pieces, by any Get Log Page
// command, while the configuration changes.
//
// Every piece is the requested part of the log, padded with zeroes. The log lists exactly what this
// host may see, at every portal, and its generation changes with it. The host is notified of a
// change once, and again only after it has read the log.
#include <algorithm>

#include "examples/nvmf/target/target.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::nvmf_target {
namespace {

constexpr std::string_view kHost = "nqn.2024-01.org.example:a";

struct Engine final : ControllerHost {
  void events_ready(QueueRef) override { ++wakes; }
  void drop_queue(QueueRef) override {}
  void connect_again(QueueRef) override {}  // nothing here has I/O to wait for
  int wakes = 0;
};

class Run {
 public:
  explicit Run(fuzz::Input& input) : input_(input) {
    serve();
    nvme::ConnectCommand command;
    command.sq_size0 = uint16_t(31);
    nvme::ConnectData data{};
    data.cntlid = nvme::le(nvme::kDynamicController);
    nvme::set_field(data.subsysnqn, nvme::kDiscoveryNqn);
    nvme::set_field(data.hostnqn, kHost);
    QueueFacts facts;
    facts.ref = {0, 1};
    facts.entries = 32;
    facts.local_address = "[fe80::1]:4420";
    auto connected = target_.connect(command, data, facts, now_);
    FUZZ_CHECK(ok(connected.status));
    controller_ = std::move(connected.controller);
    nvme::PropertyCommand enable;
    enable.offset = uint32_t(nvme::Property::kCc);
    enable.value = uint64_t(nvme::kCcEnable);
    FUZZ_CHECK(ok(controller_->property_set(enable, now_).status));
    nvme::Sqe events;
    events.opcode = uint8_t(nvme::AdminOpcode::kSetFeatures);
    events.cdw10 = uint32_t{NVME_FEAT_FID_ASYNC_EVENT};
    events.cdw11 = uint32_t{1} << 31;
    FUZZ_CHECK(ok(controller_->admin(events, 0, now_).status));
  }
  ~Run() { target_.disconnected(*controller_, 0); }

  void run() {
    for (int i = 0; i < 48 && !input_.empty(); ++i) {
      const uint8_t choice = input_.take<uint8_t>();
      if (choice < 0x20) {
        serve();
      } else if (choice < 0x40) {
        park();
      } else {
        read(choice);
      }
    }
    check_log();
  }

 private:
  // Up to 7 subsystems and 3 portals, as the input has it.
  void serve() {
    const uint64_t before = target_.generation();
    std::vector<Target::Served> served;
    visible_.clear();
    const uint8_t subsystems = input_.take<uint8_t>(), shut = input_.take<uint8_t>();
    for (int i = 0; i < 7; ++i) {
      if ((subsystems & 1 << i) == 0) continue;
      served.push_back({});
      SubsystemOptions& options = served.back().options;
      options.nqn = "nqn.2024-01.org.example:disk" + std::to_string(i);
      if (i == 6) options.nqn.resize(nvme::kMaxNqnBytes, 'x');
      options.serial = "1";
      options.allow_any_host = (shut & 1 << i) == 0;
      if (i % 2 == 0) options.hosts = {std::string(kHost)};
      if (options.allow_any_host || i % 2 == 0) visible_.push_back(options.nqn);
    }
    std::vector<Portal> portals;
    const uint8_t which = input_.take<uint8_t>();
    if ((which & 1) != 0) portals.push_back({.address = "::", .port = 4420, .id = 1});
    if ((which & 2) != 0) portals.push_back({.address = "10.0.0.1", .port = 1, .id = 2});
    if ((which & 4) != 0) {
      portals.push_back({.address = "2001:db8::2", .port = 65535, .id = 3});
    }
    // The address of the host's own connection is announced if there is no other.
    told_ = std::max<size_t>(portals.size(), 1);
    target_.apply(std::move(served), std::move(portals));
    FUZZ_CHECK(target_.generation() > before);
    changed_ = true;
    if (controller_ != nullptr) events();
  }

  void park() {
    nvme::Sqe sqe;
    sqe.opcode = uint8_t(nvme::AdminOpcode::kAsyncEventRequest);
    sqe.command_id = uint16_t(parked_);
    const AdminReply reply = controller_->admin(sqe, 0, now_);
    if (parked_ == kMaxAsyncEvents) {
      FUZZ_CHECK(nvme::code(reply.status) == nvme::Status::kAsyncEventLimitExceeded);
      return;
    }
    FUZZ_CHECK(reply.kind == AdminReply::Kind::kPark);
    ++parked_;
    events();
  }

  void events() {
    for (const AsyncCompletion& event : controller_->take_events()) {
      FUZZ_CHECK(parked_ > 0 && armed_ && changed_);
      FUZZ_CHECK((event.result >> 16 & 0xff) == NVME_LOG_LID_DISCOVER);
      --parked_;
      armed_ = false;  // until the log is read
    }
  }

  void read(uint8_t choice) {
    const std::vector<std::byte> log = target_.discovery_log(kHost, "[fe80::1]:4420");
    nvme::Sqe sqe;
    sqe.opcode = uint8_t(nvme::AdminOpcode::kGetLogPage);
    const bool raw = (choice & 1) != 0;
    const bool retain = (choice & 2) != 0;
    const uint32_t dwords = raw ? input_.take<uint32_t>() : input_.take<uint16_t>() % 2048;
    const uint64_t offset = raw ? input_.take<uint64_t>() : input_.take<uint16_t>();
    sqe.cdw10 = NVME_LOG_LID_DISCOVER | (retain ? 1u << 15 : 0) | dwords << 16;
    sqe.cdw11 = dwords >> 16;
    sqe.cdw12 = uint32_t(offset);
    sqe.cdw13 = uint32_t(offset >> 32);
    const uint64_t bytes = (uint64_t{dwords} + 1) * 4;
    const bool lies = (choice & 4) != 0;
    const AdminReply reply = controller_->admin(sqe, lies ? bytes + 4 : bytes, now_);
    if (!retain && ok(reply.status)) armed_ = true;
    if (bytes > kMaxTransfer || offset % 4 != 0) {
      FUZZ_CHECK(nvme::code(reply.status) == nvme::Status::kInvalidField && reply.data.empty());
      return;
    }
    if (!ok(reply.status)) {
      FUZZ_CHECK(lies || offset > log.size());
      return;
    }
    FUZZ_CHECK(!lies && reply.data.size() == bytes);
    for (uint64_t i = 0; i < bytes; ++i) {
      const bool inside = offset < log.size() && i < log.size() - offset;
      FUZZ_CHECK(reply.data[i] == (inside ? log[offset + i] : std::byte{0}));
    }
  }

  void check_log() const {
    const std::vector<std::byte> log = target_.discovery_log(kHost, "[fe80::1]:4420");
    const auto head = nvme::read_struct<nvmf_discovery_log>(log);
    FUZZ_CHECK(nvme::le(uint64_t(head.genctr)) == target_.generation());
    const uint64_t records = nvme::le(uint64_t(head.numrec));
    FUZZ_CHECK(log.size() == sizeof head + records * sizeof(nvmf_disc_log_entry));
    FUZZ_CHECK(records == visible_.size() * told_);
    for (uint64_t i = 0; i < records; ++i) {
      const auto entry = nvme::read_struct<nvmf_disc_log_entry>(
          std::span(log).subspan(sizeof head + i * sizeof(nvmf_disc_log_entry)));
      const std::string_view nqn = nvme::field_string(entry.subnqn);
      FUZZ_CHECK(nvme::valid_nqn(nqn));
      FUZZ_CHECK(std::ranges::find(visible_, nqn) != visible_.end());
      const std::string_view address = nvme::field_string(entry.traddr);
      FUZZ_CHECK(address == "fe80::1" || address == "10.0.0.1" || address == "2001:db8::2");
    }
  }

  fuzz::Input& input_;
  Engine engine_;
  Target target_{{.workers = 1}, engine_};
  std::shared_ptr<Controller> controller_;
  std::vector<std::string> visible_;
  size_t told_ = 1;
  Nanoseconds now_ = std::chrono::seconds(100);
  uint32_t parked_ = 0;
  bool armed_ = true;
  bool changed_ = false;
};

}  // namespace
}  // namespace mrpool::nvmf_target

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  mrpool::nvmf_target::Run(input).run();
  return 0;
}
