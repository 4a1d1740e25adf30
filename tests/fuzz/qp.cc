// DDP and RDMAP headers against a live device: a peer made of input speaks to a Qp that has a
// writable, a readable, a fast-registered and a private region. It knows all their keys. For every
// input, no byte changes outside the memory that the peer may write, no byte is sent that it may
// not read, and every receive completes once. The input chooses whether a message without a receive
// waits for
// one, and whether one comes.
#include <algorithm>
#include <memory>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "transport/uiwarp/crc32c.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/open.h"
#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {
namespace {

constexpr size_t kRegion = 1024;
constexpr std::byte kGuard{0x6e};
constexpr std::byte kSecret{0xa7};
constexpr uint32_t kReceives = 4;       // posted at first
constexpr uint32_t kMostReceives = 12;  // with those that come later

struct Received final : Completion {
  Received()
      : Completion([](Completion& self, const WorkCompletion&) {
          ++static_cast<Received&>(self).calls;
        }) {}
  int calls = 0;
};

struct Ignored final : Completion {
  Ignored() : Completion([](Completion&, const WorkCompletion&) {}) {}
};

class Host final : public QpEvents, public ListenHandler {
 public:
  Host() {
    // guard | inbox | guard | writable | guard | readable | guard | fast | guard | private | guard
    memory.assign(11 * kRegion, kGuard);
    std::ranges::fill(region(9), kSecret);
    pd = *device->alloc_pd();
    cq = *device->create_cq(reactor, {.depth = 1024});
    inbox = *pd->reg_mr(region(1), Access::kLocalWrite);
    writable =
        *pd->reg_mr(region(3), Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteAtomic);
    readable = *pd->reg_mr(region(5), Access::kRemoteRead);
    base = *pd->reg_mr(region(7), Access::kLocalWrite);
    secret = *pd->reg_mr(region(9), Access::kLocalWrite);
    fast = *pd->alloc_fast_mr(
        {.max_segments = 1, .ceiling = Access::kLocalWrite | Access::kRemoteWrite});
    listener = *device->listen(reactor, {"uiwarp", "10.0.0.1", 1, ""}, *this);
  }
  ~Host() {
    qp.reset();
    for (uint32_t i = 0; i < receives_posted; ++i) FUZZ_CHECK(receives[i].calls == 1);
  }

  std::span<std::byte> region(size_t i) { return std::span(memory).subspan(i * kRegion, kRegion); }

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    auto made = request->accept(
        *pd, {.send_cq = cq.get(), .recv_cq = cq.get(), .receive_wait = receive_wait}, {}, *this);
    FUZZ_CHECK(made.ok());
    qp = std::move(*made);
    while (receives_posted < kReceives) post_receive();
  }
  void post_receive() {
    if (receives_posted == kMostReceives || ended) return;
    const Sge sge = inbox->sge(receives_posted * 64, 64);
    RecvRequest receive;
    receive.completion = &receives[receives_posted];
    receive.sges = {&sge, 1};
    FUZZ_CHECK(qp->post_recv(receive) == PostStatus::kOk);
    ++receives_posted;
  }
  void on_connected(Qp&, const ConnectionInfo&) override {
    const Sge sge = base->sge(0, kRegion);
    FUZZ_CHECK(fast->map({&sge, 1}) == 1);
    const WorkRequest reg{.completion = &ignored,
                          .opcode = Opcode::kRegMr,
                          .mr = fast.get(),
                          .access = Access::kLocalWrite | Access::kRemoteWrite};
    FUZZ_CHECK(qp->post_send(reg).ok());
    connected = true;
  }
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp&, const Disconnect& why) override {
    ended = true;
    // A message that waits forever is not abandoned.
    FUZZ_CHECK(receive_wait != Nanoseconds::max() || why.reason != DisconnectReason::kProtocol ||
               why.detail != to_string(term::kUntaggedNoBuffer));
  }

  // Guards, what is read only, and what has no remote rights.
  void check() {
    for (const size_t i : {0, 2, 4, 5, 6, 8, 10}) {
      FUZZ_CHECK(std::ranges::all_of(region(i), [](std::byte b) { return b == kGuard; }));
    }
    FUZZ_CHECK(std::ranges::all_of(region(9), [](std::byte b) { return b == kSecret; }));
    // After the receives, too.
    FUZZ_CHECK(std::ranges::all_of(region(1).subspan(kMostReceives * 64),
                                   [](std::byte b) { return b == kGuard; }));
  }

  sim::SimReactor reactor;
  std::shared_ptr<sim::SimNetwork> network =
      std::make_shared<sim::SimNetwork>(reactor, sim::NetworkOptions{});
  std::shared_ptr<Device> device = make_device({.seed = 1}, network);
  std::vector<std::byte> memory;
  std::unique_ptr<Pd> pd;
  std::unique_ptr<Cq> cq;
  std::unique_ptr<Mr> inbox, writable, readable, base, secret;
  std::unique_ptr<FastMr> fast;
  std::unique_ptr<Qp> qp;
  std::unique_ptr<Listener> listener;
  std::array<Received, kMostReceives> receives;
  uint32_t receives_posted = 0;
  Nanoseconds receive_wait = Nanoseconds::zero();
  Ignored ignored;
  bool connected = false;
  bool ended = false;
};

class Peer final : public DialHandler, public StreamEvents {
 public:
  explicit Peer(Host& host) : host_(host) {
    dial_ = *host.network->dial(host.reactor, {"uiwarp", "10.0.0.1", 1, ""}, *this);
  }
  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override {
    FUZZ_CHECK(stream.ok());
    stream_ = std::move(*stream);
    stream_->attach(host_.reactor, *this);
  }
  void on_readable() override {}
  void on_writable() override {}

  bool up() const { return stream_ != nullptr; }

  void send(std::span<const std::byte> bytes) {
    for (int i = 0; !bytes.empty() && i < 10'000; ++i) {
      const iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
      const StreamResult result = stream_->writev({&piece, 1});
      if (result.error != 0) return;
      bytes = bytes.subspan(result.bytes);
      hear();
      host_.reactor.step();
    }
  }

  // Whatever comes out, the secret is not among it.
  void hear() {
    std::byte buffer[8192];
    const iovec piece{buffer, sizeof buffer};
    for (StreamResult r = stream_->readv({&piece, 1}); r.bytes > 0;
         r = stream_->readv({&piece, 1})) {
      size_t run = 0;
      for (size_t i = 0; i < r.bytes; ++i) {
        run = buffer[i] == kSecret ? run + 1 : 0;
        FUZZ_CHECK(run < 16);
      }
    }
  }

 private:
  Host& host_;
  std::unique_ptr<Dial> dial_;
  std::unique_ptr<Stream> stream_;
};

std::vector<std::byte> atomic(fuzz::Input& input, uint32_t id, uint32_t stag, uint64_t offset) {
  std::vector<std::byte> payload(kAtomicRequestBytes);
  encode_atomic_request({.code = static_cast<AtomicCode>(input.take<uint8_t>() & 3),
                         .id = id,
                         .stag = stag,
                         .offset = offset,
                         .add_swap = input.take<uint64_t>(),
                         .add_swap_mask = input.take<uint64_t>(),
                         .compare = input.take<uint64_t>(),
                         .compare_mask = input.take<uint64_t>()},
                        payload.data());
  return payload;
}

// One FPDU from the input: any header fields, one of the keys or any number, an offset near the
// bounds, and a correct CRC unless the input decides otherwise.
std::vector<std::byte> segment(fuzz::Input& input, const Host& host) {
  const uint8_t control = input.take<uint8_t>();
  const Mr* const mrs[] = {host.writable.get(), host.readable.get(), host.secret.get(),
                           host.inbox.get()};
  const auto pick_key = [&](uint8_t choice) {
    if (choice % 8 < 4) return mrs[choice % 8]->rkey().value + (choice >> 6);
    return choice % 8 < 6 ? host.fast->rkey().value : input.take<uint32_t>();
  };
  const auto pick_address = [&](uint8_t choice) {
    const uint64_t start = choice % 8 < 4   ? mrs[choice % 8]->remote_addr().value
                           : choice % 8 < 6 ? host.fast->remote_addr().value
                                            : input.take<uint64_t>();
    constexpr uint64_t kNear[] = {0,
                                  1,
                                  kRegion - 1,
                                  kRegion,
                                  ~uint64_t{0},
                                  kRegion / 2,
                                  uint64_t{1} << 63,
                                  ~uint64_t{0} - kRegion};
    return start + kNear[choice >> 3 & 7];
  };
  SegmentHeader header{.kind = static_cast<MessageKind>((control & 7) | (control >> 4 & 8)),
                       .tagged = (control & 8) != 0,
                       .last = (control & 16) != 0};
  const uint8_t where = input.take<uint8_t>();
  if (header.tagged) {
    header.stag = pick_key(where);
    header.offset = pick_address(input.take<uint8_t>());
  } else {
    header.queue = control >> 5 & 3;
    header.msn = input.take<uint8_t>();
    header.mo = input.take<uint16_t>();
    header.invalidate = pick_key(where);
  }
  std::vector<std::byte> payload;
  if (header.kind == MessageKind::kReadRequest && (where & 0x80) != 0) {
    payload.resize(kReadRequestBytes);
    const uint8_t sink = input.take<uint8_t>(), source = input.take<uint8_t>();
    encode_read_request({.sink_stag = pick_key(sink),
                         .sink_offset = pick_address(sink),
                         .length = input.take<uint32_t>() >> (where & 31),
                         .source_stag = pick_key(source),
                         .source_offset = pick_address(source)},
                        payload.data());
  } else if (header.kind == MessageKind::kAtomicRequest && (where & 0x80) != 0) {
    const uint8_t target = input.take<uint8_t>();
    payload = atomic(input, header.msn, pick_key(target), pick_address(target));
  } else {
    const auto bytes = input.take_bytes(input.take<uint8_t>());
    payload.assign(bytes.begin(), bytes.end());
    // Long enough to cross a region's end, and to be received in parts.
    payload.resize(payload.size() * (1 + (input.take<uint8_t>() & 15)), std::byte{0x11});
  }
  const size_t ulpdu = header.bytes() + payload.size();
  std::vector<std::byte> out(fpdu_bytes(ulpdu));
  store_be16(out.data(), static_cast<uint16_t>(ulpdu));
  encode_segment(header, out.data() + kLengthBytes);
  std::ranges::copy(payload, out.begin() + static_cast<ptrdiff_t>(kLengthBytes + header.bytes()));
  Crc32c crc;
  crc.update(out.data(), out.size() - kCrcBytes);
  store_le32(out.data() + out.size() - kCrcBytes, crc.value());
  return out;
}

void run(fuzz::Input input) {
  Host host;
  Peer peer(host);
  for (int i = 0; i < 1000 && !peer.up(); ++i) host.reactor.step();
  const uint8_t mode = input.take<uint8_t>();
  if ((mode & 8) != 0) {
    host.receive_wait = (mode & 16) != 0 ? Nanoseconds::max() : std::chrono::milliseconds(1500);
  }
  const bool more_receives = (mode & 32) != 0;
  peer.send(encode_mpa({.crc = (mode & 1) != 0,
                        .extensions = (mode & 4) == 0,
                        .enhanced = true,
                        .ird = 4,
                        .ord = 4}));
  for (int i = 0; i < 1000 && !host.connected; ++i) host.reactor.step();
  if (!host.connected) return;
  host.reactor.step();
  if ((mode & 2) != 0) {
    peer.send(input.rest());  // as it is
  } else {
    for (int i = 0; i < 32 && !input.empty() && !host.ended; ++i) {
      peer.send(segment(input, host));
      host.check();
      if (more_receives && i % 2 == 1) host.post_receive();
    }
  }
  for (int i = 0; i < 200; ++i) {
    host.reactor.step();
    peer.hear();
  }
  host.check();
}

}  // namespace
}  // namespace mrpool::uiwarp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A Terminate returns the refused header, so a peer that sends the secret itself would receive
  // it.
  std::vector<uint8_t> bytes(data, data + size);
  std::ranges::replace(bytes, static_cast<uint8_t>(mrpool::uiwarp::kSecret), uint8_t{0});
  mrpool::uiwarp::run(mrpool::fuzz::Input(bytes.data(), bytes.size()));
  return 0;
}
