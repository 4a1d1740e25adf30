// A host's session against any controller: what mrpool-nvmf does from connecting to leaving.
//
// For every behavior of the target: each command ends once. An accepted namespace has a valid size.
// Lists end. Once the target is silent, the session ends within a bounded time and returns all MRs.
#include <array>
#include <memory>
#include <vector>

#include "examples/nvmf/host/discovery.h"
#include "examples/nvmf/host/session.h"
#include "tests/fuzz/hostile_target.h"

namespace mrpool::nvme::host {
namespace {

using testing::ScriptedQp;

constexpr uint64_t kBlocks = 128;

class Target final : public fuzz::HostileTarget {
 public:
  using HostileTarget::HostileTarget;

 private:
  struct Reply {
    Cqe cqe;
    std::vector<std::byte> data;
    bool silent = false;
  };

  void answer(ScriptedQp& qp, int how) override {
    const auto* message = next_message(qp);
    if (message == nullptr || message->size() < sizeof(Sqe)) return;
    const Sqe sqe = read_struct<Sqe>(*message);
    Reply reply = good(sqe);
    std::optional<Rkey> ended;
    if (sqe.sgl.subtype() == SglSubtype::kInvalidate) ended = sqe.sgl.key();
    uint32_t length = sizeof(Cqe);
    switch (how) {
      case 4:
        reply.cqe.status_field = input_.take<uint16_t>();
        break;
      case 5:
        reply.cqe.result = input_.take<uint64_t>();
        reply.silent = false;
        break;
      case 6: {
        reply.data.resize(4096);
        const size_t at = input_.take<uint16_t>() % reply.data.size();
        input_.fill(std::span(reply.data).subspan(at, std::min<size_t>(64, 4096 - at)));
        break;
      }
      case 7: {
        const auto what = input_.take<uint8_t>();
        if (what < 64) length = what;
        if (what >= 64 && what < 128) reply.cqe.command_id = what;
        if (what >= 128 && what < 192) ended.reset();
        if (what >= 192) ended = Rkey{what};
        break;
      }
      default:
        break;
    }
    if (reply.silent) return;
    if (sqe.sgl.type() == SglType::kKeyedDataBlock && to_host(sqe)) {
      place(sqe.sgl.remote(), reply.data);
    }
    qp.deliver(bytes_of(reply.cqe), ended, length);
  }

  void send_anything(ScriptedQp& qp) override {
    Cqe cqe;
    input_.fill(std::as_writable_bytes(std::span(&cqe, 1)));
    qp.deliver(bytes_of(cqe));
  }

  static bool to_host(const Sqe& sqe) {
    return sqe.opcode != kFabricsOpcode && data_direction(sqe.opcode) == DataDirection::kToHost;
  }

  Reply good(const Sqe& sqe) {
    Reply reply;
    reply.cqe.command_id = uint16_t(sqe.command_id);
    if (sqe.opcode == kFabricsOpcode) {
      reply.cqe.result = fabrics(sqe);
    } else if (sqe.opcode == uint8_t(AdminOpcode::kSetFeatures)) {
      reply.cqe.result = 0x007f007f;
    } else if (sqe.opcode == uint8_t(AdminOpcode::kAsyncEventRequest)) {
      reply.cqe.result = 0x040002;  // namespace attributes, when somebody asks for it by 5
      reply.silent = true;
    } else if (sqe.opcode == uint8_t(AdminOpcode::kIdentify)) {
      reply.data = identify(uint8_t(sqe.cdw10), sqe.nsid);
    } else if (sqe.opcode == uint8_t(AdminOpcode::kGetLogPage)) {
      reply.data.resize(4096);
      reply.data[8] = std::byte{3};  // records of a discovery log
    }
    return reply;
  }

  uint64_t fabrics(const Sqe& sqe) const {
    const auto get = std::bit_cast<PropertyCommand>(sqe);
    if (get.type == FabricsType::kConnect) return 1;
    if (get.type != FabricsType::kPropertyGet) return 0;
    if (get.offset == uint32_t(Property::kCap)) return 127 | uint64_t{1} << 24;
    return kCstsReady | kCstsShutdownComplete;
  }

  static std::vector<std::byte> identify(uint8_t cns, uint32_t after) {
    std::vector<std::byte> page(4096);
    if (cns == 0) {
      auto& ns = *reinterpret_cast<nvme_id_ns*>(page.data());
      ns.nsze = le(kBlocks);
      ns.lbaf[0].ds = 9;
    } else if (cns == 1) {
      auto& id = *reinterpret_cast<nvme_id_ctrl*>(page.data());
      id.oaes = le(1u << 8);
      id.crdt1 = le(uint16_t{1});
      id.ioccsz = le(uint32_t{64 + 32});
    } else if (cns == 2) {
      page[0] = std::byte(after == 0);
    } else if (cns == 3) {
      page[0] = std::byte{3};
      page[1] = page[4] = std::byte{16};
    }
    return page;
  }
};

struct Load final : Request {
  explicit Load(int& left) : Request(to_method<&Load::ended>), under_way(left) {}
  void ended() {
    FUZZ_CHECK(busy);
    busy = false;
    --under_way;
  }
  int& under_way;
  bool busy = false;
};

class World final : private fuzz::InitiatorGround, private Session::News {
 public:
  explicit World(fuzz::Input& input) : target_(device_, reactor_, input) {
    const auto choice = input.take<uint8_t>();
    SessionOptions options;
    options.address = *Address::parse("uiwarp://127.0.0.1:4420");
    options.host = *identity_of("nqn.2026-11.org.example:host");
    options.subnqn = (choice & 1) != 0 ? kDiscoveryNqn : "nqn.2026-11.org.example:disk";
    options.depth = 4;
    options.keep_alive = options.command_timeout = std::chrono::seconds(1);
    options.reconnect = (choice & 2) != 0;
    options.reconnect_delay = std::chrono::milliseconds(50);
    options.loss_timeout = std::chrono::seconds(3);
    discovery_ = (choice & 1) != 0;
    equip(1 + session_mrs(options, 1) / (1 + (choice >> 2 & 7)), 4 * 4096);
    session_ = *Session::create(device_, pd_, *pool_, reactor_, options, *this);
  }

  void run(fuzz::Input& input) {
    spawn(use());
    while (!input.empty() && !left_) target_.act();
    if (!left_) session_->give_up("the input is over");
    FUZZ_CHECK(target_.fall_silent([this] { return left_; }, std::chrono::minutes(5)));
    FUZZ_CHECK(under_way_ == 0);
    session_.reset();
    check_all_returned();
  }

 private:
  Async<> use() {
    const absl::Status connected = co_await session_->connect();
    if (connected.ok()) {
      if (discovery_) {
        const auto log = co_await read_discovery_log(session_->controller());
        FUZZ_CHECK(!log.ok() || log->entries.size() <= 4096);
      } else {
        co_await move_data();
      }
      co_await session_->disconnect();
    }
    left_ = true;
  }

  Async<> move_data() {
    const auto all = co_await session_->controller().active_namespaces();
    FUZZ_CHECK(!all.ok() || all->size() <= kMaxNamespaces + 1024);
    const auto ns = co_await session_->controller().namespace_info(1);
    if (!ns.ok()) co_return;
    FUZZ_CHECK(ns->block_size >= 512 && ns->blocks > 0);
    FUZZ_CHECK(ns->blocks <= uint64_t{INT64_MAX} / ns->block_size);
    session_->pin(*ns);
    Reactor* const reactors[] = {&reactor_};
    const absl::Status opened = co_await session_->open_queues(reactors);
    if (!opened.ok()) co_return;
    // Some at once, some after others: until the session is over.
    for (int round = 0; round < 8; ++round) {
      for (size_t i = 0; i < loads_.size(); ++i) submit(*loads_[i], i);
      while (under_way_ != 0) co_await pause(reactor_, std::chrono::milliseconds(20));
    }
    const absl::Status cause = co_await session_->cause();
    FUZZ_CHECK(cause.ok() || !cause.message().empty());
  }

  void submit(Load& load, size_t number) {
    load.command.opcode = uint8_t(number % 2 == 0 ? IoOpcode::kRead : IoOpcode::kWrite);
    load.command.nsid = 1;
    load.command.set_range(number * 8, 8);
    load.data = data_->sge(number % 4 * 4096, 4096);
    load.busy = true;
    ++under_way_;
    session_->queue(0).submit(load);
  }

  void on_event(const std::string&) override {}
  void on_over(const absl::Status& why) override { FUZZ_CHECK(!why.ok()); }

  Target target_;
  std::unique_ptr<Session> session_;
  int under_way_ = 0;
  std::array<std::unique_ptr<Load>, 6> loads_ = [this] {
    std::array<std::unique_ptr<Load>, 6> loads;
    for (auto& load : loads) load = std::make_unique<Load>(under_way_);
    return loads;
  }();
  bool discovery_ = false;
  bool left_ = false;
};

}  // namespace
}  // namespace mrpool::nvme::host

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  mrpool::nvme::host::World world(input);
  world.run(input);
  return 0;
}
