// The same load over 1, 10, 100 or 1,000 connections of one thread: what do connections cost?
//
//   nvmf_scale ADDRESS --subnqn NQN --connections 1000 --iodepth 128 --seconds 2
//   nvmf_scale ADDRESS --subnqn NQN --connections 1000 --idle 2
//   nvmf_scale ADDRESS --subnqn NQN --connections 4000 --queues-per-host 1    # as many hosts
//
// `iodepth` 4 KiB random reads are under way in all; each moves on to a random connection when it
// is done, so that every connection is used. With --idle nothing is asked of the connections once
// they are open. Prints one line of JSON when the connections are open ("open"), and one at the
// end. The rest, memory and CPU of the target, the driver reads from /proc between the two.
#include <sys/resource.h>

#include <cstdio>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/load/histogram.h"
#include "examples/load/random.h"
#include "examples/nvmf/host/session.h"

namespace mrpool::nvme::host {
namespace {

struct Options {
  std::string address;
  std::string subnqn;
  uint32_t connections = 1;
  uint32_t per_host = 100;
  uint32_t iodepth = 128;
  Nanoseconds seconds = std::chrono::seconds(2);
  Nanoseconds idle{0};
};

constexpr uint32_t kBlock = 4096;

class Scale final : private Session::News {
 public:
  explicit Scale(Options options) : options_(std::move(options)) {}

  absl::Status prepare();
  absl::Status run() {
    absl::Status status = absl::UnknownError("not run");
    bool done = false;
    auto finish = [](Scale& scale, absl::Status& out, bool& flag) -> Async<> {
      out = co_await scale.measure();
      for (const auto& session : scale.sessions_) co_await session->disconnect();
      flag = true;
      scale.reactor_->stop();
    };
    spawn(finish(*this, status, done));
    while (!done) reactor_->run();
    return status;
  }

 private:
  struct Io final : Request {
    explicit Io(Scale& owner) : Request(&finished), scale(owner) {}
    static void finished(Request& self, const Outcome& outcome) {
      auto& io = static_cast<Io&>(self);
      io.scale.completed(io, outcome);
    }
    Scale& scale;
    Nanoseconds started{0};
  };

  Async<absl::Status> measure();
  void next(Io& io);
  void completed(Io& io, const Outcome& outcome);
  void on_event(const std::string& text) override {
    std::fprintf(stderr, "nvmf_scale: %s\n", text.c_str());
  }
  void on_over(const absl::Status&) override { failed_ = true; }
  // Each session is a host of its own.
  HostIdentity host(size_t number) const {
    HostIdentity host = identity_;
    host.nqn += absl::StrCat(":", number);
    for (size_t i = 0; i < 4; ++i) host.id[i] = uint8_t(host.id[i] ^ (number >> (8 * i)));
    return host;
  }
  static Nanoseconds clock() { return std::chrono::steady_clock::now().time_since_epoch(); }

  const Options options_;
  const HostIdentity identity_ = default_identity();
  std::unique_ptr<Reactor> reactor_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::unique_ptr<load::Buffer> buffer_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<Queue*> queues_;
  std::vector<std::unique_ptr<Io>> ios_;
  load::Random random_{1};
  load::Histogram latency_;
  uint64_t blocks_ = 0;
  Nanoseconds end_{0};
  uint32_t under_way_ = 0;
  Event drained_;
  bool failed_ = false;
};

absl::Status Scale::prepare() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const auto address = Address::parse(options_.address);
  if (!address.ok()) return address.status();
  auto reactor = Reactor::create({.spin = Nanoseconds::max()});
  if (!reactor.ok()) return reactor.status();
  reactor_ = *std::move(reactor);
  auto device = Device::open(*address);
  if (!device.ok()) return device.status();
  device_ = *std::move(device);
  auto pd = device_->alloc_pd();
  if (!pd.ok()) return pd.status();
  pd_ = *std::move(pd);
  auto pool = MrPool::create(
      *pd_, {.count = options_.iodepth + 64,
             .max_segments = 1,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) return pool.status();
  pool_ = *std::move(pool);
  auto buffer = load::Buffer::create(*pd_, size_t(options_.iodepth) * kBlock);
  if (!buffer.ok()) return buffer.status();
  buffer_ = std::make_unique<load::Buffer>(*std::move(buffer));

  SessionOptions session;
  session.address = *address;
  session.subnqn = options_.subnqn;
  session.keep_alive = std::chrono::seconds(120);
  // Twice an even share: chance does not spread the I/Os evenly.
  session.depth = uint16_t(std::max(4u, 2 * options_.iodepth / options_.connections));
  if (options_.connections == 1) session.depth = uint16_t(options_.iodepth);
  for (uint32_t left = options_.connections; left > 0;) {
    session.host = host(sessions_.size());
    auto made = Session::create(*device_, *pd_, *pool_, *reactor_, session, *this);
    if (!made.ok()) return made.status();
    sessions_.push_back(*std::move(made));
    left -= std::min(left, options_.per_host);
  }
  return absl::OkStatus();
}

Async<absl::Status> Scale::measure() {
  uint32_t left = options_.connections;
  for (const auto& session : sessions_) {
    absl::Status status = co_await session->connect();
    if (!status.ok()) co_return status;
    const std::vector<Reactor*> reactors(std::min(left, options_.per_host), reactor_.get());
    status = co_await session->open_queues(reactors);
    if (!status.ok()) co_return status;
    for (size_t i = 0; i < session->queues(); ++i) queues_.push_back(&session->queue(i));
    left -= uint32_t(reactors.size());
  }
  const auto ns = co_await sessions_[0]->controller().namespace_info(1);
  if (!ns.ok()) co_return ns.status();
  blocks_ = ns->bytes() / kBlock;
  std::printf("{\"open\": %u, \"sessions\": %zu}\n", options_.connections, sessions_.size());
  std::fflush(stdout);
  if (options_.idle.count() > 0) {
    co_await pause(*reactor_, options_.idle);
    co_return absl::OkStatus();
  }
  for (uint32_t i = 0; i < options_.iodepth; ++i) {
    ios_.push_back(std::make_unique<Io>(*this));
    ios_.back()->data = buffer_->sge(size_t(i) * kBlock, kBlock);
    ios_.back()->command.opcode = uint8_t(IoOpcode::kRead);
    ios_.back()->command.nsid = 1;
    ios_.back()->command.cdw12 = uint32_t(kBlock / ns->block_size - 1);
  }
  const Nanoseconds begun = clock();
  end_ = begun + options_.seconds;
  under_way_ = options_.iodepth;
  for (const auto& io : ios_) next(*io);
  co_await drained_;
  const double seconds = std::chrono::duration<double>(clock() - begun).count();
  if (failed_) co_return absl::DataLossError("an I/O failed");
  std::printf(
      "{\"connections\": %u, \"iops\": %.0f, \"mean_ns\": %.0f, \"p50_ns\": %llu, \"p99_ns\": "
      "%llu}\n",
      options_.connections, double(latency_.count()) / seconds, latency_.mean(),
      static_cast<unsigned long long>(latency_.percentile(50)),
      static_cast<unsigned long long>(latency_.percentile(99)));
  co_return absl::OkStatus();
}

void Scale::next(Io& io) {
  io.started = clock();
  const uint64_t per_io = io.command.blocks();
  io.command.set_range(random_.below(blocks_) * per_io, uint32_t(per_io));
  queues_[random_.below(queues_.size())]->submit(io);
}

void Scale::completed(Io& io, const Outcome& outcome) {
  const Nanoseconds now = clock();
  latency_.add(uint64_t((now - io.started).count()));
  if (!ok(outcome.status)) failed_ = true;
  if (now < end_ && !failed_) {
    next(io);
  } else if (--under_way_ == 0) {
    drained_.set();
  }
}

int main(int argc, char** argv) {
  Options options;
  base::CommandLine program("nvmf_scale", "Reads over many connections, or keeps them open.");
  program.operand("ADDRESS", "where the target listens", "uiwarp://127.0.0.1:4420",
                  options.address);
  program.required("--subnqn NQN");
  program.text("subnqn", "NQN", "the subsystem", options.subnqn);
  program.count("connections", "I/O connections", options.connections, {.least = 1});
  program.count("queues-per-host", "I/O connections of each host", options.per_host,
                {.least = 1, .most = 128});
  program.count("iodepth", "reads under way over all of them", options.iodepth,
                {.least = 1, .most = 1000});
  program.duration("seconds", "how long", options.seconds);
  program.duration("idle", "instead of reading, keep the connections open for", options.idle);
  if (const auto status = program.begin(argc, argv)) return *status;
  Scale scale(options);
  absl::Status status = scale.prepare();
  if (status.ok()) status = scale.run();
  if (status.ok()) return 0;
  std::fprintf(stderr, "nvmf_scale: %s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace
}  // namespace mrpool::nvme::host

int main(int argc, char** argv) { return mrpool::nvme::host::main(argc, argv); }
