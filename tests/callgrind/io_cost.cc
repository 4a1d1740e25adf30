// What a 4 KiB command costs each side: an NVMe-oF target and a host in one thread, whose rounds
// alternate, over a TCP connection of this machine.
//
//   io_cost read|write DEPTH COMMANDS
//
// cost_host() and cost_target() are a round of one side. tests/callgrind counts what is inside one
// of them (layers.py), and check.py pins it. Set-up and the first commands run outside of both.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "examples/load/buffer.h"
#include "examples/nvmf/host/session.h"
#include "examples/nvmf/target/service.h"
#include "mrpool/device.h"

namespace {

mrpool::Reactor* host_reactor = nullptr;
mrpool::Reactor* target_reactor = nullptr;

}  // namespace

extern "C" {

[[gnu::noinline]] void cost_host() { host_reactor->poll(); }
[[gnu::noinline]] void cost_target() { target_reactor->poll(); }

}  // extern "C"

namespace mrpool {
namespace {

constexpr uint32_t kBlock = 4096;
constexpr char kSubsystem[] = "nqn.2026-11.org.mrpool:cost";

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "io_cost: %s\n", why.c_str());
  std::exit(1);
}

void check(const absl::Status& status) {
  if (!status.ok()) die(std::string(status.message()));
}

template <typename T>
T value(absl::StatusOr<T> result) {
  check(result.status());
  return *std::move(result);
}

// A target that serves RAM on a port of its own.
class Target {
 public:
  Target() {
    check(service_->add_worker(*reactor_));
    nvmf_target::Config config;
    config.listen = {"uiwarp://127.0.0.1:0"};
    nvmf_target::NamespaceConfig ns;
    ns.storage = "ram:4MiB";
    nvmf_target::SubsystemConfig subsystem;
    subsystem.nqn = kSubsystem;
    subsystem.namespaces.push_back(ns);
    config.subsystems.push_back(subsystem);
    check(nvmf_target::complete(config));
    check(service_->apply(config));
  }
  ~Target() {
    bool stopped = false;
    service_->stop([&stopped] { stopped = true; });
    while (!stopped) reactor_->poll();
    service_.reset();
  }
  Address address() const { return service_->engine().listening().at(0).address; }
  Reactor& reactor() { return *reactor_; }

 private:
  std::unique_ptr<Reactor> reactor_ = value(Reactor::create());
  std::unique_ptr<nvmf_target::Service> service_ =
      std::make_unique<nvmf_target::Service>(nvmf_target::Service::Options{});
};

// A host with one queue, whose commands follow each other.
class Host final : private nvme::host::Session::News {
 public:
  Host(const Address& address, nvme::IoOpcode opcode, uint32_t depth) : opcode_(opcode) {
    buffer_ =
        std::make_unique<load::Buffer>(value(load::Buffer::create(*pd_, size_t{depth} * kBlock)));
    nvme::host::SessionOptions options;
    options.address = address;
    options.subnqn = kSubsystem;
    options.host = nvme::host::default_identity();
    options.keep_alive = std::chrono::minutes(10);
    options.command_timeout = std::chrono::minutes(10);
    options.depth = uint16_t(depth);
    session_ =
        value(nvme::host::Session::create(*device_, *pd_, *pool_, *reactor_, options, *this));
    for (uint32_t i = 0; i < depth; ++i) {
      ios_.push_back(std::make_unique<Io>(*this));
      ios_.back()->data = buffer_->sge(size_t{i} * kBlock, kBlock);
      ios_.back()->command.opcode = uint8_t(opcode_);
      ios_.back()->command.nsid = 1;
    }
  }

  // Each is a coroutine to await while both sides' loops are polled.
  nvme::host::Async<> open() {
    check(co_await session_->connect());
    Reactor* const reactors[] = {reactor_.get()};
    check(co_await session_->open_queues(reactors));
    for (const auto& io : ios_) next(*io);
  }
  nvme::host::Async<> close() {
    stopping_ = true;
    while (under_way_ > 0) co_await nvme::host::pause(*reactor_, std::chrono::microseconds(50));
    co_await session_->disconnect();
  }
  uint64_t completed() const { return completed_; }
  Reactor& reactor() { return *reactor_; }

 private:
  struct Io final : nvme::host::Request {
    explicit Io(Host& owner) : Request(&finished), host(owner) {}
    static void finished(Request& self, const nvme::host::Outcome& outcome) {
      auto& io = static_cast<Io&>(self);
      if (!nvme::ok(outcome.status)) die("a command failed");
      ++io.host.completed_;
      --io.host.under_way_;
      if (!io.host.stopping_) io.host.next(io);
    }
    Host& host;
  };

  void next(Io& io) {
    ++under_way_;
    io.command.set_range(next_block_++ % 1024, 1);
    session_->queue(0).submit(io);
  }
  void on_event(const std::string& text) override { die(text); }
  void on_over(const absl::Status& why) override { check(why); }

  const nvme::IoOpcode opcode_;
  std::unique_ptr<Reactor> reactor_ = value(Reactor::create());
  std::shared_ptr<Device> device_ = value(Device::open(Address{"uiwarp", "", 0, ""}));
  std::unique_ptr<Pd> pd_ = value(device_->alloc_pd());
  std::unique_ptr<MrPool> pool_ = value(MrPool::create(
      *pd_, {.count = 512,
             .max_segments = 1,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite}));
  std::unique_ptr<load::Buffer> buffer_;
  std::unique_ptr<nvme::host::Session> session_;
  std::vector<std::unique_ptr<Io>> ios_;
  uint64_t completed_ = 0;
  uint64_t next_block_ = 0;
  uint32_t under_way_ = 0;
  bool stopping_ = false;
};

void run(Target& target, Host& host, nvme::host::Async<> step) {
  bool done = false;
  nvme::host::spawn([](nvme::host::Async<> first, bool& flag) -> nvme::host::Async<> {
    co_await std::move(first);
    flag = true;
  }(std::move(step), done));
  while (!done) {
    host.reactor().poll();
    target.reactor().poll();
  }
}

void measure(nvme::IoOpcode opcode, uint32_t depth, uint64_t commands) {
  Target target;
  Host host(target.address(), opcode, depth);
  host_reactor = &host.reactor();
  target_reactor = &target.reactor();
  run(target, host, host.open());
  while (host.completed() < 1000 + 4 * depth) {
    host.reactor().poll();
    target.reactor().poll();
  }
  const uint64_t begun = host.completed();
  while (host.completed() < begun + commands) {
    cost_host();
    cost_target();
  }
  std::printf("%llu\n", static_cast<unsigned long long>(host.completed() - begun));
  run(target, host, host.close());
}

}  // namespace
}  // namespace mrpool

int main(int argc, char** argv) {
  using mrpool::nvme::IoOpcode;
  const long depth = argc == 4 ? std::atol(argv[2]) : 0;
  const long commands = argc == 4 ? std::atol(argv[3]) : 0;
  const bool reads = argc == 4 && std::strcmp(argv[1], "read") == 0;
  const bool writes = argc == 4 && std::strcmp(argv[1], "write") == 0;
  if ((!reads && !writes) || depth < 1 || depth > 128 || commands < 1) {
    std::fprintf(stderr, "usage: io_cost read|write DEPTH COMMANDS   (DEPTH 1 to 128)\n");
    return 2;
  }
  mrpool::measure(reads ? IoOpcode::kRead : IoOpcode::kWrite, uint32_t(depth), uint64_t(commands));
  return 0;
}
