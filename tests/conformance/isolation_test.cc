// What belongs to one Device is refused by another, whatever the two have in common.
#include "mrpool/mr_pool.h"
#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

// Objects of no device under test: what another transport's look like from here.
class ForeignPd final : public Pd {
 public:
  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte>, Access) override {
    return absl::UnimplementedError("no Mr");
  }
  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions&) override {
    return absl::UnimplementedError("no FastMr");
  }
  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor&, const SrqOptions&) override {
    return absl::UnimplementedError("no Srq");
  }
  const DeviceCaps& caps() const override { return conformance::caps(); }
};
class ForeignCq final : public Cq {
 public:
  explicit ForeignCq(Reactor& reactor) : reactor_(reactor) {}
  Reactor& reactor() override { return reactor_; }

 private:
  Reactor& reactor_;
};
class ForeignSrq final : public Srq {
 public:
  PostStatus post_recv(const RecvRequest&) override { return PostStatus::kUnsupported; }
  uint32_t posted() const override { return 0; }
  absl::Status arm_limit(uint32_t) override { return absl::UnimplementedError("no receives"); }
};

class Isolation : public ConformanceTest {
 protected:
  void SetUp() override {
    auto opened = Device::open(environment().address);
    ASSERT_TRUE(opened.ok()) << opened.status();
    other = *opened;
    other_pd = *other->alloc_pd();
    other_cq = *other->create_cq(*reactor, {.depth = 4096});
    listen();
  }
  void TearDown() override {
    // The peer of a refused accept is notified.
    client.qp.reset();
    server.qp.reset();
  }

  absl::Status connect_with(Pd& pd, const QpOptions& options) {
    return device.connect(target, pd, options, {}, client).status();
  }
  absl::Status accept_with(Pd& pd, const QpOptions& options) {
    if (acceptor.kept == nullptr) {
      acceptor.server = nullptr;
      start_connect(client);
      EXPECT_TRUE(until([&] { return acceptor.kept != nullptr; }));
    }
    return acceptor.kept->accept(pd, options, {}, server).status();
  }
  void expect_refused(Pd& pd, const QpOptions& options) {
    for (const absl::Status& status : {connect_with(pd, options), accept_with(pd, options)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(std::string(status.message()), testing::HasSubstr("another"));
    }
  }

  std::shared_ptr<Device> other;
  std::unique_ptr<Pd> other_pd;
  std::unique_ptr<Cq> other_cq;
};

TEST_F(Isolation, APdOfAnotherDeviceIsRefused) {
  expect_refused(*other_pd, server.options());
  ForeignPd foreign;
  expect_refused(foreign, server.options());
}

TEST_F(Isolation, ACqOfAnotherDeviceIsRefused) {
  ForeignCq foreign(*reactor);
  for (Cq* cq : {other_cq.get(), static_cast<Cq*>(&foreign)}) {
    QpOptions options = server.options();
    options.send_cq = cq;
    expect_refused(*server.pd, options);
    options.send_cq = options.recv_cq;
    options.recv_cq = cq;
    expect_refused(*server.pd, options);
    options.send_cq = cq;
    expect_refused(*server.pd, options);
  }
}

TEST_F(Isolation, AnSrqOfAnotherPdIsRefused) {
  MRPOOL_NEEDS(caps().srq);
  auto others = *other_pd->create_srq(*reactor, {.max_wr = 4});
  auto neighbours = *client.pd->create_srq(*reactor, {.max_wr = 4});
  ForeignSrq foreign;
  for (Srq* srq : {others.get(), neighbours.get(), static_cast<Srq*>(&foreign)}) {
    QpOptions options = server.options();
    options.srq = srq;
    expect_refused(*server.pd, options);
  }
}

// The Pds of two devices have the same numbers.
TEST_F(Isolation, AnMrOfAnotherDeviceIsRefusedAtPost) {
  MRPOOL_NEEDS(caps().registration != Registration::kPreRegistered);
  connect();
  for (int i = 0; i < 4; ++i) {
    auto pd = *other->alloc_pd();
    Region region(*pd, 4096, base_access(caps(), Access::kLocalWrite | Access::kRemoteWrite));
    auto pool = *MrPool::create(
        *pd, {.count = 1, .max_segments = 1, .access = Access::kLocalWrite | Access::kRemoteWrite});
    MrPool::Lease lease = pool->get();
    const Sge whole = region.sge();
    ASSERT_EQ(lease.map({&whole, 1}), 1u);
    WorkRequest registration;
    ASSERT_EQ(lease.prepare_register(Access::kLocalWrite | Access::kRemoteWrite, registration),
              PostStatus::kOk);
    registration.signalled = true;
    EXPECT_EQ(client.try_post(registration), PostStatus::kBadKey);
    lease.not_posted();
  }
  EXPECT_TRUE(client.qp->connected());
}

TEST_F(Isolation, ARequestCanStillBeAcceptedAfterARefusal) {
  EXPECT_FALSE(accept_with(*other_pd, server.options()).ok());
  auto qp = acceptor.kept->accept(*server.pd, server.options(), {}, server);
  ASSERT_TRUE(qp.ok()) << qp.status();
  server.qp = *std::move(qp);
  EXPECT_TRUE(until([&] { return client.connected && server.connected; })) << client.detail;
}

}  // namespace
}  // namespace mrpool::conformance
