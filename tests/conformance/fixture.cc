#include "tests/conformance/fixture.h"

#include <sys/mman.h>

#include <cstring>

namespace mrpool::conformance {
namespace {

std::byte pattern(uint8_t seed, size_t offset) {
  if (seed == 0) return std::byte{0};
  // Of 251 values, a prime, so that it never lines up with a page or a segment.
  return static_cast<std::byte>((offset + size_t{seed} * 31) % 251 + 1);
}

template <typename T>
T or_die(absl::StatusOr<T> result) {
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? std::move(*result) : T();
}

std::vector<Op*> select(const std::vector<Op*>& finished, bool receives) {
  std::vector<Op*> selected;
  for (Op* op : finished) {
    if ((op->opcode == Opcode::kRecv) == receives) selected.push_back(op);
  }
  return selected;
}

}  // namespace

Environment& environment() {
  static Environment instance;
  return instance;
}

const std::string* excuse() {
  const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
  return environment().ledger.find(caps().name,
                                   std::string(test.test_suite_name()) + "." + test.name());
}

Region::Region(Pd& pd, size_t size, Access access) {
  void* memory = ::mmap(nullptr, std::max<size_t>(size, 1), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(memory, MAP_FAILED);
  bytes_ = {static_cast<std::byte*>(memory), size};
  mr_ = or_die(pd.reg_mr(bytes_, access));
}

Region::~Region() {
  mr_.reset();
  ::munmap(bytes_.data(), std::max<size_t>(bytes_.size(), 1));
}

void Region::fill(uint8_t seed) {
  for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = pattern(seed, i);
}

std::optional<size_t> Region::differs(uint8_t seed, size_t offset, size_t length) const {
  for (size_t i = offset; i < offset + length; ++i) {
    if (bytes_[i] != pattern(seed, i)) return i;
  }
  return std::nullopt;
}

testing::AssertionResult same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  if (a.size() != b.size()) {
    return testing::AssertionFailure() << a.size() << " bytes against " << b.size();
  }
  const auto [x, y] = std::ranges::mismatch(a, b);
  if (x == a.end()) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "first difference at byte " << x - a.begin() << " of " << a.size() << ": "
         << static_cast<int>(*x) << " against " << static_cast<int>(*y);
}

Op::Op(Side& s, Opcode kind)
    : Completion([](Completion& self, const WorkCompletion& completed) {
        Op& op = static_cast<Op&>(self);
        EXPECT_FALSE(op.side.in_post) << "a completion came from inside a post";
        EXPECT_FALSE(op.side.disconnected) << "a completion came after on_disconnected";
        op.wc = completed;
        if (++op.calls == 1) op.side.finished.push_back(&op);
      }),
      side(s),
      opcode(kind) {}

Side::Side(Device& dev, Reactor& home, std::string side_name)
    : name(std::move(side_name)),
      device(dev),
      reactor(home),
      pd(or_die(dev.alloc_pd())),
      cq(or_die(dev.create_cq(home, {.depth = 4096}))) {}

Side::~Side() {
  qp.reset();  // flushes
  for (const Op& op : ops) {
    EXPECT_EQ(op.calls, 1) << name << ": completions of one " << to_string(op.opcode);
  }
}

QpOptions Side::options(QpOptions base) {
  base.send_cq = cq.get();
  base.recv_cq = cq.get();
  return base;
}

Op& Side::post(WorkRequest wr) {
  Op& op = ops.emplace_back(*this, wr.opcode);
  wr.completion = &op;
  in_post = true;
  const PostResult result = qp->post_send(wr);
  in_post = false;
  EXPECT_EQ(result.status, PostStatus::kOk) << name << ": " << to_string(wr.opcode);
  if (!result.ok()) op.calls = 1;  // reported once is enough
  return op;
}

PostStatus Side::try_post(WorkRequest wr) {
  Op& op = ops.emplace_back(*this, wr.opcode);
  wr.completion = &op;
  in_post = true;
  const PostResult result = qp->post_send(wr);
  in_post = false;
  if (!result.ok()) {
    EXPECT_EQ(result.refused, &wr);
    EXPECT_EQ(op.calls, 0) << "refused and completed as well";
    ops.pop_back();
  }
  return result.status;
}

Op& Side::receive(std::span<const Sge> sges) {
  Op& op = ops.emplace_back(*this, Opcode::kRecv);
  RecvRequest request;
  request.completion = &op;
  request.sges = sges;
  in_post = true;
  EXPECT_EQ(qp->post_recv(request), PostStatus::kOk);
  in_post = false;
  return op;
}

PostStatus Side::try_receive(std::span<const Sge> sges) {
  Op& op = ops.emplace_back(*this, Opcode::kRecv);
  RecvRequest request;
  request.completion = &op;
  request.sges = sges;
  const PostStatus status = qp->post_recv(request);
  if (status != PostStatus::kOk) ops.pop_back();
  return status;
}

Op& Side::srq_receive(Srq& srq, Sge sge) {
  Op& op = ops.emplace_back(*this, Opcode::kRecv);
  RecvRequest request;
  request.completion = &op;
  request.sges = {&sge, 1};
  EXPECT_EQ(srq.post_recv(request), PostStatus::kOk);
  return op;
}

Op& Side::send(Sge sge) { return post({.opcode = Opcode::kSend, .sges = {&sge, 1}}); }

Op& Side::write(Sge sge, RemoteAddr to, Rkey key) {
  return post({.opcode = Opcode::kRdmaWrite, .sges = {&sge, 1}, .remote_addr = to, .rkey = key});
}

Op& Side::read(Sge sink, RemoteAddr from, Rkey key) {
  return post({.opcode = Opcode::kRdmaRead, .sges = {&sink, 1}, .remote_addr = from, .rkey = key});
}

std::vector<Op*> Side::finished_sends() const { return select(finished, false); }
std::vector<Op*> Side::finished_receives() const { return select(finished, true); }

void Side::on_connected(Qp&, const ConnectionInfo& info) {
  EXPECT_FALSE(connected);
  connected = true;
  ord = info.ord;
  ird = info.ird;
  peer_data.assign(info.private_data.begin(), info.private_data.end());
}

void Side::on_rejected(Qp&, std::span<const std::byte> private_data) {
  EXPECT_FALSE(connected);
  rejected = true;
  peer_data.assign(private_data.begin(), private_data.end());
}

void Side::on_disconnected(Qp&, const Disconnect& reason) {
  EXPECT_FALSE(disconnected) << name << ": told twice that it ended";
  disconnected = reason.reason;
  why = reason;
  detail = reason.detail;
  why.detail = {};
}

void Acceptor::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  const ConnectionInfo& info = request->info();
  request_data.assign(info.private_data.begin(), info.private_data.end());
  offered_ord = info.ord;
  offered_ird = info.ird;
  if (server == nullptr) {
    kept = std::move(request);
    return;
  }
  ConnectParams params;
  params.private_data = private_data;
  auto qp = request->accept(*server->pd, server->options(options), params, *server);
  accepted = qp.status();
  if (qp.ok()) server->qp = std::move(*qp);
}

ConformanceTest::ConformanceTest()
    : reactor(or_die(Reactor::create({.spin = Nanoseconds::zero()}))),
      device(*environment().device),
      target(environment().address),
      client(device, *reactor, "client"),
      server(device, *reactor, "server") {
  acceptor.server = &server;
}

ConformanceTest::~ConformanceTest() = default;

void ConformanceTest::listen() {
  auto listening = device.listen(*reactor, environment().address, acceptor);
  ASSERT_TRUE(listening.ok()) << listening.status();
  listener = std::move(*listening);
  ASSERT_NE(listener->port(), 0);
  target.port = listener->port();
}

void ConformanceTest::start_connect(Side& side, QpOptions options, const ConnectParams& params) {
  auto qp = device.connect(target, *side.pd, side.options(options), params, side);
  ASSERT_TRUE(qp.ok()) << qp.status();
  side.qp = std::move(*qp);
}

void ConformanceTest::connect(QpOptions client_options, QpOptions server_options) {
  acceptor.options = server_options;
  if (listener == nullptr) {
    ASSERT_NO_FATAL_FAILURE(listen());
  }
  ASSERT_NO_FATAL_FAILURE(start_connect(client, client_options));
  ASSERT_TRUE(until([&] { return client.connected && server.connected; }))
      << "accepted: " << acceptor.accepted << ", client: " << client.detail;
  ASSERT_TRUE(client.qp->connected());
  ASSERT_TRUE(server.qp->connected());
}

void ConformanceTest::settle() {
  for (int i = 0; i < 200; ++i) reactor->poll();
}

bool ConformanceTest::both_ended() {
  return until([&] {
    return client.disconnected && server.disconnected && client.all_finished() &&
           server.all_finished();
  });
}

Access sink_access() {
  return local_access_for(BufferRole::kReadSink, caps().read_sink_needs_remote_write);
}

}  // namespace mrpool::conformance
