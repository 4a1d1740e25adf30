// A whole target and hosts that may misbehave, in one thread, on a virtual clock and a network in
// memory: for tests of the engine.
//
// RawQueue sends the test's bytes unchanged, and keeps the answers.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "examples/nvmf/target/service.h"
#include "examples/protocol/nvme/wire.h"
#include "examples/storage/faults.h"
#include "mrpool/device.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "transport/uiwarp/open.h"

namespace mrpool::nvmf_target::testing {

using nvme::AdminOpcode;
using nvme::IoOpcode;
using nvme::SglDescriptor;
using nvme::Status;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr char kSubsystem[] = "nqn.2024-01.org.example:disk";
inline constexpr char kHostNqn[] = "nqn.2024-01.org.example:host";

inline std::string name(nvme::Status status) { return nvme::to_string(status); }
inline nvme::Status dnr(nvme::Status status) { return nvme::with_dnr(status); }
#define EXPECT_STATUS(actual, expected) EXPECT_EQ(name(actual), name(expected))

class World {
 public:
  explicit World(const std::function<void(Service::Options&)>& change = {}) {
    Service::Options options;
    options.engine.staging = 8 << 20;
    options.open_device = [this](const Address&) { return target_device_; };
    options.open_volume = [this](std::string_view spec, const storage::OpenOptions& how) {
      auto volume = storage::open(spec, how);
      if (!volume.ok() || !with_faults_) return volume;
      return absl::StatusOr<std::shared_ptr<storage::Volume>>(
          storage::with_faults(*volume, faults));
    };
    if (change) change(options);
    service_ = std::make_unique<Service>(options);
    for (uint32_t i = 0; i < options.engine.threads; ++i) {
      EXPECT_TRUE(service_->add_worker(reactor).ok());
    }
    pd = std::move(*host_device->alloc_pd());
  }
  ~World() {
    if (service_ != nullptr) stop();
  }

  void serve(const std::vector<std::string>& specs, const std::vector<AnaRule>& ana) {
    ana_ = ana;
    serve(specs, with_faults_);
    ana_.clear();
  }
  void serve(const std::vector<std::string>& specs, bool with_faults = false) {
    with_faults_ = with_faults;
    Config config;
    config.listen = {"uiwarp://127.0.0.1:4420"};
    SubsystemConfig subsystem;
    subsystem.nqn = kSubsystem;
    subsystem.ana = ana_;
    subsystem.host_limits = host_limits;
    for (const std::string& spec : specs) {
      NamespaceConfig ns;
      ns.storage = spec;
      ns.uuid =
          subsystem.namespaces.size() < uuids.size() ? uuids[subsystem.namespaces.size()] : Uuid{};
      if (subsystem.namespaces.size() < limits.size()) {
        ns.limits = limits[subsystem.namespaces.size()];
      }
      subsystem.namespaces.push_back(ns);
    }
    config.subsystems.push_back(subsystem);
    ASSERT_TRUE(complete(config).ok());
    const absl::Status status = service_->apply(config);
    ASSERT_TRUE(status.ok()) << status;
  }
  // Steps until `done`; false when it does not come to pass.
  bool until(const std::function<bool()>& done, int steps = 200'000) {
    for (int i = 0; i < steps; ++i) {
      if (done()) return true;
      reactor.step();
    }
    return done();
  }
  void run_for(Nanoseconds time) {
    const Nanoseconds end = reactor.now() + time;
    while (reactor.now() < end && reactor.step()) {
    }
  }
  // Stops the service and expects nothing left over.
  void stop() {
    bool stopped = false;
    service_->stop([&] { stopped = true; });
    EXPECT_TRUE(until([&] { return stopped; })) << "the service does not stop";
    expect_nothing_held();
    service_.reset();
  }
  void expect_nothing_held() {
    run_for(std::chrono::milliseconds(10));
    EXPECT_EQ(service_->engine().held(), 0u);
  }
  Service& service() { return *service_; }

  sim::SimReactor reactor;
  std::shared_ptr<sim::SimNetwork> network =
      std::make_shared<sim::SimNetwork>(reactor, sim::NetworkOptions{});
  std::shared_ptr<Device> host_device = uiwarp::make_device({.seed = 11}, network);
  std::shared_ptr<storage::FaultPlan> faults = std::make_shared<storage::FaultPlan>();
  std::unique_ptr<Pd> pd;
  std::vector<Uuid> uuids;                 // of the namespaces that are served next; none: derived
  std::vector<engine::RateLimits> limits;  // likewise; none: no limits
  engine::HostLimitMap host_limits;

 private:
  std::shared_ptr<Device> target_device_ = uiwarp::make_device({.seed = 12}, network);
  bool with_faults_ = false;
  std::vector<AnaRule> ana_;
  std::unique_ptr<Service> service_;
};

class RawQueue final : public QpEvents {
 public:
  static constexpr size_t kMemory = 4 << 20;

  RawQueue(World& w, uint16_t queue_id, uint32_t entries = 32) : world(w), id(queue_id) {
    nvme::RdmaRequest request;
    request.queue_id = queue_id;
    request.host_receive_size = uint16_t(entries);
    request.host_send_size0 = uint16_t(entries - 1);
    open(nvme::bytes_of(request));
  }
  RawQueue(World& w, std::span<const std::byte> private_data) : world(w) { open(private_data); }
  ~RawQueue() {
    qp.reset();  // flushes, from inside
    world.reactor.poll();
  }

  bool connected() const { return up && !down; }

  // The whole set-up of a queue: Connect, and for the admin queue CC.EN.
  nvme::Cqe connect(uint16_t controller = nvme::kDynamicController,
                    std::string_view host = kHostNqn, uint32_t entries = 32,
                    uint32_t keep_alive_ms = 0, uint8_t host_id = 7) {
    nvme::ConnectCommand command;
    command.command_id = uint16_t{0};
    command.queue_id = id;
    command.sq_size0 = uint16_t(entries - 1);
    command.keep_alive_ms = keep_alive_ms;
    command.sgl = nvme::SglDescriptor::keyed(buffer(0, sizeof(nvme::ConnectData)), false);
    nvme::ConnectData data{};
    std::fill(std::begin(data.hostid), std::end(data.hostid), host_id);
    data.cntlid = controller;
    nvme::set_field(data.subsysnqn, kSubsystem);
    nvme::set_field(data.hostnqn, host);
    std::memcpy(memory.data(), &data, sizeof data);
    const nvme::Cqe cqe = execute(command);
    if (id == 0 && ok(cqe.status())) {
      nvme::PropertyCommand enable;
      enable.type = nvme::FabricsType::kPropertySet;
      enable.command_id = uint16_t{0};
      enable.offset = uint32_t(nvme::Property::kCc);
      enable.value = uint64_t(nvme::kCcEnable | nvme::kCcEntrySizes);
      EXPECT_STATUS(execute(enable).status(), nvme::Status::kSuccess);
    }
    return cqe;
  }

  RemoteBuffer buffer(uint64_t offset, uint64_t length) const {
    return {RemoteAddr{mr->remote_addr().value + offset}, length, mr->rkey()};
  }
  nvme::Sqe io(nvme::IoOpcode opcode, uint64_t slba, uint32_t blocks, uint64_t at = 0,
               uint32_t nsid = 1, uint32_t block_size = 4096) {
    nvme::Sqe sqe;
    sqe.opcode = uint8_t(opcode);
    sqe.flags = nvme::kPsdtSgl;
    sqe.command_id = next_id++;
    sqe.nsid = nsid;
    sqe.set_range(slba, blocks);
    sqe.sgl = nvme::SglDescriptor::keyed(buffer(at, uint64_t(blocks) * block_size), false);
    return sqe;
  }
  nvme::Sqe admin(nvme::AdminOpcode opcode, uint32_t cdw10 = 0, uint32_t cdw11 = 0,
                  uint32_t length = 0) {
    nvme::Sqe sqe;
    sqe.opcode = uint8_t(opcode);
    sqe.flags = nvme::kPsdtSgl;
    sqe.command_id = next_id++;
    sqe.cdw10 = cdw10;
    sqe.cdw11 = cdw11;
    sqe.sgl = nvme::SglDescriptor::keyed(buffer(0, length), false);
    return sqe;
  }

  // Sends any bytes as a capsule.
  void send(std::span<const std::byte> bytes) {
    auto sent = std::make_unique<Sent>();
    sent->bytes.assign(bytes.begin(), bytes.end());
    sent->mr = std::move(*world.pd->reg_mr(sent->bytes, Access::kNone));
    const Sge sge = sent->mr->sge(0, uint32_t(sent->bytes.size()));
    WorkRequest wr;
    wr.completion = sent.get();
    wr.sges = {&sge, 1};
    if (qp->post_send(wr).ok()) sends.push_back(std::move(sent));
  }
  template <typename T>
  void submit(const T& command, std::span<const std::byte> behind = {}) {
    static_assert(sizeof(T) == 64);
    const auto head = nvme::bytes_of(command);
    std::vector<std::byte> capsule(head.begin(), head.end());
    capsule.insert(capsule.end(), behind.begin(), behind.end());
    send(capsule);
  }
  template <typename T>
  nvme::Cqe execute(const T& command, std::span<const std::byte> behind = {}) {
    submit(command, behind);
    return wait(command.command_id);
  }
  nvme::Cqe wait(uint16_t command_id) {
    EXPECT_TRUE(world.until([&] { return answers.contains(command_id) || down; }));
    EXPECT_FALSE(down && !answers.contains(command_id)) << "the connection ended: " << why;
    const nvme::Cqe cqe = answers[command_id];
    answers.erase(command_id);
    return cqe;
  }
  bool wait_down() {
    return world.until([&] { return down; });
  }
  void fill(uint64_t at, size_t length, int value) { std::memset(&memory[at], value, length); }
  bool holds(uint64_t at, size_t length, int value) const {
    return std::all_of(&memory[at], &memory[at] + length,
                       [&](std::byte b) { return b == std::byte(value); });
  }

  void on_connected(Qp&, const ConnectionInfo&) override { up = true; }
  void on_rejected(Qp&, std::span<const std::byte> data) override {
    if (data.size() >= sizeof(nvme::RdmaReject)) {
      rejected = nvme::RdmaStatus(uint16_t(nvme::read_struct<nvme::RdmaReject>(data).status));
    }
  }
  void on_disconnected(Qp&, const Disconnect& event) override {
    down = true;
    why = std::string(to_string(event.reason)) + " " + std::string(event.detail);
  }

  World& world;
  uint16_t id = 0;
  bool up = false;
  bool down = false;
  std::string why;
  nvme::RdmaStatus rejected{};
  std::map<uint16_t, nvme::Cqe> answers;
  std::vector<nvme::Cqe> order;  // everything that was answered, in order
  uint16_t next_id = 1;
  std::vector<std::byte> memory = std::vector<std::byte>(kMemory);
  std::unique_ptr<Mr> mr;
  std::unique_ptr<Cq> cq;
  std::unique_ptr<Qp> qp;

 private:
  struct Sent : Completion {
    Sent() : Completion([](Completion&, const WorkCompletion&) {}) {}
    std::vector<std::byte> bytes;
    std::unique_ptr<Mr> mr;
  };
  struct Received : Completion {
    explicit Received(RawQueue& q) : Completion(&Received::finished), queue(q) {}
    static void finished(Completion& self, const WorkCompletion& wc) {
      auto& me = static_cast<Received&>(self);
      if (wc.status != WcStatus::kSuccess) return;
      EXPECT_EQ(wc.byte_len, sizeof(nvme::Cqe));
      nvme::Cqe cqe;
      std::memcpy(static_cast<void*>(&cqe), &me.queue.cqes[me.index * sizeof cqe], sizeof cqe);
      EXPECT_FALSE(me.queue.answers.contains(cqe.command_id)) << "answered twice";
      me.queue.answers[cqe.command_id] = cqe;
      me.queue.order.push_back(cqe);
      me.post();
    }
    void post() {
      const Sge sge = queue.cqe_mr->sge(index * sizeof(nvme::Cqe), sizeof(nvme::Cqe));
      RecvRequest wr;
      wr.completion = this;
      wr.sges = {&sge, 1};
      (void)queue.qp->post_recv(wr);
    }
    RawQueue& queue;
    size_t index = 0;
  };

  void open(std::span<const std::byte> private_data) {
    constexpr uint32_t kReceives = 2048;
    mr = std::move(*world.pd->reg_mr(
        memory, Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite));
    cqes.resize(kReceives * sizeof(nvme::Cqe));
    cqe_mr = std::move(*world.pd->reg_mr(cqes, Access::kLocalWrite));
    cq = std::move(*world.host_device->create_cq(world.reactor, {.depth = 8192}));
    QpOptions options;
    options.send_cq = options.recv_cq = cq.get();
    options.max_send_wr = 4096;
    options.max_recv_wr = kReceives;
    ConnectParams params;
    params.private_data = private_data;
    qp = std::move(*world.host_device->connect(*Address::parse("uiwarp://127.0.0.1:4420"),
                                               *world.pd, options, params, *this));
    for (uint32_t i = 0; i < kReceives; ++i) {
      receives.push_back(std::make_unique<Received>(*this));
      receives.back()->index = i;
      receives.back()->post();
    }
    world.until([&] { return up || down; });
  }

  std::vector<std::byte> cqes;
  std::unique_ptr<Mr> cqe_mr;
  std::vector<std::unique_ptr<Received>> receives;
  std::vector<std::unique_ptr<Sent>> sends;
};

// A host with its admin queue and one I/O queue.
struct Host {
  explicit Host(World& world, uint32_t entries = 32, std::string_view nqn = kHostNqn,
                uint8_t host_id = 7)
      : admin(world, 0),
        controller(uint16_t(uint64_t(admin.connect(0xffff, nqn, 32, 0, host_id).result))),
        io(world, 1, entries) {
    EXPECT_STATUS(io.connect(controller, nqn, entries, 0, host_id).status(),
                  nvme::Status::kSuccess);
  }
  RawQueue admin;
  uint16_t controller;
  RawQueue io;
};

}  // namespace mrpool::nvmf_target::testing
