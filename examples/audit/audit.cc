#include "examples/audit/audit.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "absl/strings/str_cat.h"
#include "examples/audit/wire.h"
#include "mrpool/access.h"

namespace mrpool::audit {
namespace {

constexpr size_t kSize = 4096;   // of a region under audit, with as much memory on both sides
constexpr size_t kGuard = 4096;  // of that
constexpr uint32_t kBytes = 64;  // of one probe's request
constexpr uint32_t kAtomicBytes = 8;
constexpr std::byte kOwned{0x5a};    // fills what the owner has
constexpr std::byte kSent{0xc3};     // fills what the peer writes
constexpr std::byte kNothing{0x11};  // fills the sink of the peer's READs

constexpr Access kBoth = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite;

std::string text_of(std::string_view view) { return std::string(view); }

// --- flags
// ----------------------------------------------------------------------------------------

FlagLine try_flags(Pd& pd, std::span<std::byte> memory, Access access, bool must_refuse) {
  FlagLine line{.flags = to_string(access), .answer = "", .detail = ""};
  absl::StatusOr<std::unique_ptr<Mr>> mr = pd.reg_mr(memory, access);
  if (!mr.ok()) {
    line.answer = "refused";
    line.detail = std::string(mr.status().message());
    // An error is an answer only where it is one to the flags.
    if (mr.status().code() != absl::StatusCode::kInvalidArgument) line.verdict = Verdict::kBroken;
    // Optional flags are granted or ignored, never a reason to fail.
    if (!must_refuse && !any(mandatory(access) & ~Access::kLocalWrite)) {
      line.verdict = Verdict::kBroken;
    }
    return line;
  }
  const Granted& granted = (*mr)->granted();
  line.answer = any(granted.unknown) ? "unknown" : any(granted.ignored) ? "ignored" : "granted";
  if (any(granted.unknown)) line.detail = to_string(granted.unknown) + " may have been masked";
  if (any(granted.ignored)) line.detail = to_string(granted.ignored) + " has no effect";
  const Access sum = granted.effective | granted.ignored | granted.unknown;
  if (granted.requested != access || sum != access) {
    line.verdict = Verdict::kBroken;
    line.detail = absl::StrCat("the answer does not add up to the request: ", to_string(sum));
  }
  if (must_refuse) {
    line.verdict = Verdict::kBroken;
    line.detail = "accepted, must be refused";
  }
  return line;
}

void audit_flags(Pd& pd, std::span<std::byte> memory, Report& report) {
  const Access known = pd.caps().access.known;
  for (uint32_t bit = 0; bit < 20; ++bit) {
    const Access flag = Access::from_bits(1u << bit);
    const bool needs_local = any(flag & (Access::kRemoteWrite | Access::kRemoteAtomic));
    const Access access = needs_local ? flag | Access::kLocalWrite : flag;
    report.flags.push_back(try_flags(pd, memory, access, !has(known, flag)));
  }
  for (uint32_t bit = 20; bit < 30; ++bit) {
    report.flags.push_back(
        try_flags(pd, memory, Access::kLocalWrite | Access::from_bits(1u << bit), false));
  }
  for (const Access forbidden :
       {Access::kRemoteWrite, Access::kRemoteAtomic, Access::kRemoteRead | Access::kRemoteWrite,
        Access::kRemoteWrite | Access::kRemoteAtomic, Access::from_bits(1u << 30),
        Access::from_bits(1u << 31)}) {
    report.flags.push_back(try_flags(pd, memory, forbidden, true));
  }
  report.flags.push_back(try_flags(pd, memory, kBoth, false));
  report.flags.push_back(try_flags(pd, memory, kBoth | Access::kDisableRelaxedOrdering, false));
}

// --- traffic
// --------------------------------------------------------------------------------------

// What a probe works with: memory of the owner with guard pages on both sides, two Pds of the
// owner's, a Pd of the peer's, and a wire.
struct Bench {
  Bench(Device& device_under_audit, const Address& where, Reactor& loop)
      : device(device_under_audit), address(where), reactor(loop) {}

  Device& device;
  const Address& address;
  Reactor& reactor;
  std::vector<std::byte> owned = std::vector<std::byte>(kGuard + kSize + kGuard, kOwned);
  std::vector<std::byte> local = std::vector<std::byte>(kSize, kSent);
  std::unique_ptr<Pd> owner_pd, other_pd, peer_pd;
  std::unique_ptr<Mr> local_mr;
  std::unique_ptr<Wire> wire;

  std::span<std::byte> region() { return std::span(owned).subspan(kGuard, kSize); }
};

enum class Request { kRead, kWrite, kAtomic, kWriteWithImm };

struct Tried {
  bool data_moved = false;  // into the peer's sink, or into the owner's memory
  bool ended = false;       // the connection
  bool through = false;     // the request and a message behind it were carried out
  std::string text;
};

WorkRequest request_of(Request request) {
  WorkRequest out;
  switch (request) {
    case Request::kRead:
      out.opcode = Opcode::kRdmaRead;
      break;
    case Request::kWrite:
      out.opcode = Opcode::kRdmaWrite;
      break;
    case Request::kAtomic:
      out.opcode = Opcode::kFetchAdd;
      out.compare_add = 1;
      break;
    case Request::kWriteWithImm:
      out.opcode = Opcode::kRdmaWriteWithImm;
      break;
  }
  return out;
}

// One request of kBytes by the peer (8 for an atomic), followed by a SEND, which arrives only if
// the owner accepted the request.
Tried attempt(Bench& bench, Request request, Rkey rkey, RemoteAddr address) {
  Wire& wire = *bench.wire;
  std::fill(bench.owned.begin(), bench.owned.end(), kOwned);
  const bool read = request == Request::kRead;
  std::fill(bench.local.begin(), bench.local.end(), read ? kNothing : kSent);
  Op arrived, moved, sent;
  Tried tried;
  RecvRequest recv;
  recv.completion = &arrived;
  if (wire.owner.qp->post_recv(recv) != PostStatus::kOk) {
    tried.text = "the owner cannot post a receive";
    return tried;
  }
  // Immediate data takes a receive of its own, before the SEND's.
  Op immediate;
  recv.completion = &immediate;
  if (request == Request::kWriteWithImm && wire.owner.qp->post_recv(recv) != PostStatus::kOk) {
    tried.text = "the owner cannot post a second receive";
    return tried;
  }
  Op& last = request == Request::kWriteWithImm ? immediate : arrived;
  const Sge sge = bench.local_mr->sge(0, request == Request::kAtomic ? kAtomicBytes : kBytes);
  WorkRequest send;
  send.opcode = Opcode::kSend;
  send.completion = &sent;
  send.fence = true;
  WorkRequest move = request_of(request);
  move.next = &send;
  move.completion = &moved;
  move.sges = {&sge, 1};
  move.remote_addr = address;
  move.rkey = rkey;
  if (const PostResult posted = wire.peer.qp->post_send(move); !posted.ok()) {
    tried.text = absl::StrCat("not posted: ", text_of(to_string(posted.status)));
    tried.ended = true;
    wire.peer.qp->abort();
  }
  wire.run_until([&] {
    return last.wc.has_value() && (last.succeeded() ? moved.wc && sent.wc : wire.peer.ended);
  });
  tried.ended = tried.ended || wire.peer.ended || wire.owner.ended;
  tried.through = last.succeeded() && moved.succeeded();
  if (read) {
    tried.data_moved = bench.local[0] != kNothing || bench.local[kBytes - 1] != kNothing;
  } else {
    tried.data_moved = std::any_of(bench.owned.begin(), bench.owned.end(),
                                   [](std::byte b) { return b != kOwned; });
  }
  if (tried.text.empty()) {
    tried.text =
        absl::StrCat(tried.data_moved ? "data moved" : "no data moved", ", request ",
                     moved.wc ? text_of(to_string(moved.wc->status)) : "without completion",
                     ", connection ", tried.ended ? "ended" : "alive");
  }
  // The requests' completions live here: nothing may be under way when they go.
  if (!arrived.wc || !last.wc || !moved.wc || !sent.wc) {
    wire.owner.qp.reset();
    wire.peer.qp.reset();
  }
  return tried;
}

RuleLine judge_allowed(RuleLine line, const Tried& tried) {
  line.outcome = tried.text;
  line.verdict = tried.through && tried.data_moved ? Verdict::kHolds : Verdict::kBroken;
  return line;
}

RuleLine judge_refused(RuleLine line, const Tried& tried) {
  line.outcome = tried.text;
  line.verdict = !tried.data_moved && tried.ended ? Verdict::kHolds : Verdict::kBroken;
  return line;
}

// A key of the owner's, however the device makes them.
struct Key {
  std::unique_ptr<Mr> base;
  std::unique_ptr<FastMr> fast;
  Rkey rkey;
  RemoteAddr address;
};

absl::Status post_and_wait(Wire& wire, WorkRequest& request) {
  Op op;
  request.completion = &op;
  request.signalled = true;
  if (const PostResult posted = wire.owner.qp->post_send(request); !posted.ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat(text_of(to_string(request.opcode)), ": ", text_of(to_string(posted.status))));
  }
  wire.run_until([&] { return op.wc.has_value(); });
  if (op.succeeded()) return absl::OkStatus();
  std::string why = op.wc ? text_of(to_string(op.wc->status)) : "no completion";
  if (!op.wc) wire.owner.qp.reset();
  return absl::FailedPreconditionError(absl::StrCat(text_of(to_string(request.opcode)), ": ", why));
}

// Exposes [offset, offset + kSize / 2) of the region with a fast-registered key.
absl::Status expose(Bench& bench, Key& key, Access rights, size_t offset = kSize / 4) {
  const Sge sge = key.base->sge(offset, kSize / 2);
  if (key.fast->map({&sge, 1}) != 1) return absl::InternalError("map() takes no segment");
  WorkRequest reg;
  reg.opcode = Opcode::kRegMr;
  reg.mr = key.fast.get();
  reg.access = rights;
  key.rkey = key.fast->rkey();
  key.address = key.fast->remote_addr();
  return post_and_wait(*bench.wire, reg);
}

absl::Status invalidate(Bench& bench, const Key& key) {
  WorkRequest inv;
  inv.opcode = Opcode::kLocalInv;
  inv.rkey = key.rkey;
  return post_and_wait(*bench.wire, inv);
}

absl::StatusOr<Key> fast_key(Bench& bench, Access ceiling) {
  absl::StatusOr<std::unique_ptr<Mr>> base =
      bench.owner_pd->reg_mr(bench.region(), Access::kLocalWrite);
  if (!base.ok()) return base.status();
  absl::StatusOr<std::unique_ptr<FastMr>> fast =
      bench.owner_pd->alloc_fast_mr({.max_segments = 1, .sg_gaps = false, .ceiling = ceiling});
  if (!fast.ok()) return fast.status();
  Key key;
  key.base = *std::move(base);
  key.fast = *std::move(fast);
  return key;
}

struct Rule {
  const char* name;
  const char* meaning;
  bool fast;  // needs fast registration
  absl::StatusOr<RuleLine> (*probe)(Bench& bench, RuleLine line);
};

// A region with `access`; the peer tries `request` at `offset` from its first byte.
absl::StatusOr<RuleLine> region_probe(Bench& bench, RuleLine line, Access access, Request request,
                                      int64_t offset, bool allowed) {
  absl::StatusOr<std::unique_ptr<Mr>> mr = bench.owner_pd->reg_mr(bench.region(), access);
  if (!mr.ok()) return mr.status();
  const RemoteAddr at{(*mr)->remote_addr().value + uint64_t(offset)};
  const Tried tried = attempt(bench, request, (*mr)->rkey(), at);
  return allowed ? judge_allowed(line, tried) : judge_refused(line, tried);
}

absl::StatusOr<RuleLine> fast_probe(Bench& bench, RuleLine line, Access rights, Request request,
                                    int64_t offset, bool allowed) {
  absl::StatusOr<Key> key = fast_key(bench, kBoth);
  if (!key.ok()) return key.status();
  if (absl::Status status = expose(bench, *key, rights); !status.ok()) return status;
  const Tried tried = attempt(bench, request, key->rkey, {key->address.value + uint64_t(offset)});
  bench.wire->owner.qp.reset();  // a key that is still bound goes with its Qp
  return allowed ? judge_allowed(line, tried) : judge_refused(line, tried);
}

absl::StatusOr<RuleLine> atomic_probe(Bench& bench, RuleLine line, Access access, int64_t offset,
                                      bool allowed) {
  if (bench.device.caps().atomics == AtomicScope::kNone) {
    line.verdict = Verdict::kAbsent;
    line.outcome = "no atomics";
    return line;
  }
  return region_probe(bench, line, access, Request::kAtomic, offset, allowed);
}

absl::StatusOr<RuleLine> immediate_probe(Bench& bench, RuleLine line, Access access, bool allowed) {
  if (!bench.device.caps().immediate_data) {
    line.verdict = Verdict::kAbsent;
    line.outcome = "no immediate data";
    return line;
  }
  return region_probe(bench, line, access, Request::kWriteWithImm, 0, allowed);
}

constexpr Access kReadable = Access::kLocalWrite | Access::kRemoteRead;
constexpr Access kWritable = Access::kLocalWrite | Access::kRemoteWrite;

const Rule kRules[] = {
    {"read", "a READ of a region with remote read", false,
     [](Bench& b, RuleLine l) { return region_probe(b, l, kReadable, Request::kRead, 0, true); }},
    {"write", "a WRITE to a region with remote write", false,
     [](Bench& b, RuleLine l) { return region_probe(b, l, kWritable, Request::kWrite, 0, true); }},
    {"read-without-right", "a READ of a region without remote read", false,
     [](Bench& b, RuleLine l) { return region_probe(b, l, kWritable, Request::kRead, 0, false); }},
    {"write-without-right", "a WRITE to a region without remote write", false,
     [](Bench& b, RuleLine l) { return region_probe(b, l, kReadable, Request::kWrite, 0, false); }},
    {"read-past-the-end", "a READ that ends 8 bytes past the region", false,
     [](Bench& b, RuleLine l) {
       return region_probe(b, l, kBoth, Request::kRead, int64_t(kSize - kBytes + 8), false);
     }},
    {"write-past-the-end", "a WRITE that ends 8 bytes past the region", false,
     [](Bench& b, RuleLine l) {
       return region_probe(b, l, kBoth, Request::kWrite, int64_t(kSize - kBytes + 8), false);
     }},
    {"write-before-the-start", "a WRITE that starts 8 bytes before the region", false,
     [](Bench& b, RuleLine l) { return region_probe(b, l, kBoth, Request::kWrite, -8, false); }},
    {"write-wrapped", "a WRITE whose end wraps around the address space", false,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       absl::StatusOr<std::unique_ptr<Mr>> mr = b.owner_pd->reg_mr(b.region(), kBoth);
       if (!mr.ok()) return mr.status();
       return judge_refused(l, attempt(b, Request::kWrite, (*mr)->rkey(), {UINT64_MAX - 8}));
     }},
    {"atomic", "an atomic on a region with remote atomic", false,
     [](Bench& b, RuleLine l) {
       return atomic_probe(b, l, Access::kLocalWrite | Access::kRemoteAtomic, 0, true);
     }},
    {"atomic-without-right", "an atomic on a region with remote read and write only", false,
     [](Bench& b, RuleLine l) { return atomic_probe(b, l, kBoth, 0, false); }},
    {"atomic-past-the-end", "an atomic on the 8 bytes past the region", false,
     [](Bench& b, RuleLine l) {
       return atomic_probe(b, l, kBoth | Access::kRemoteAtomic, int64_t(kSize), false);
     }},
    {"write-with-immediate", "a WRITE with immediate data to a region with remote write", false,
     [](Bench& b, RuleLine l) { return immediate_probe(b, l, kWritable, true); }},
    {"write-with-immediate-without-right",
     "a WRITE with immediate data to a region without remote write", false,
     [](Bench& b, RuleLine l) { return immediate_probe(b, l, kReadable, false); }},
    {"guessed-key", "a READ with a key near a real one", false,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       absl::StatusOr<std::unique_ptr<Mr>> mr = b.owner_pd->reg_mr(b.region(), kBoth);
       if (!mr.ok()) return mr.status();
       return judge_refused(
           l, attempt(b, Request::kRead, {(*mr)->rkey().value ^ 0x15}, (*mr)->remote_addr()));
     }},
    {"deregistered", "a READ of a region that was deregistered", false,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       absl::StatusOr<std::unique_ptr<Mr>> mr = b.owner_pd->reg_mr(b.region(), kBoth);
       if (!mr.ok()) return mr.status();
       const Rkey rkey = (*mr)->rkey();
       const RemoteAddr address = (*mr)->remote_addr();
       mr->reset();
       return judge_refused(l, attempt(b, Request::kRead, rkey, address));
     }},
    {"other-pd", "a READ of a region of another protection domain", false,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       absl::StatusOr<std::unique_ptr<Mr>> mr = b.other_pd->reg_mr(b.region(), kBoth);
       if (!mr.ok()) return mr.status();
       return judge_refused(l, attempt(b, Request::kRead, (*mr)->rkey(), (*mr)->remote_addr()));
     }},
    {"fast-read", "a READ with a fast-registered key", true,
     [](Bench& b, RuleLine l) {
       return fast_probe(b, l, Access::kRemoteRead, Request::kRead, 0, true);
     }},
    {"fast-write", "a WRITE with a fast-registered key", true,
     [](Bench& b, RuleLine l) { return fast_probe(b, l, kWritable, Request::kWrite, 0, true); }},
    {"fast-write-without-right", "a WRITE with a key registered for READ", true,
     [](Bench& b, RuleLine l) {
       return fast_probe(b, l, Access::kRemoteRead, Request::kWrite, 0, false);
     }},
    {"fast-past-the-end", "a WRITE that leaves the registered bytes, inside the base region", true,
     [](Bench& b, RuleLine l) {
       return fast_probe(b, l, kWritable, Request::kWrite, int64_t(kSize / 2 - kBytes + 8), false);
     }},
    {"fast-before-the-start", "a READ before the registered bytes, inside the base region", true,
     [](Bench& b, RuleLine l) {
       return fast_probe(b, l, Access::kRemoteRead, Request::kRead, -8, false);
     }},
    {"local-invalidate", "a READ with a key that its owner invalidated", true,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       absl::StatusOr<Key> key = fast_key(b, kBoth);
       if (!key.ok()) return key.status();
       if (absl::Status s = expose(b, *key, Access::kRemoteRead); !s.ok()) return s;
       if (absl::Status s = invalidate(b, *key); !s.ok()) return s;
       const Tried tried = attempt(b, Request::kRead, key->rkey, key->address);
       b.wire->owner.qp.reset();
       return judge_refused(l, tried);
     }},
    {"remote-invalidate", "a READ with a key that the peer's SEND invalidated", true,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       if (!b.device.caps().send_with_inv) {
         l.verdict = Verdict::kAbsent;
         l.outcome = "no SEND with invalidate";
         return l;
       }
       absl::StatusOr<Key> key = fast_key(b, kBoth);
       if (!key.ok()) return key.status();
       if (absl::Status s = expose(b, *key, Access::kRemoteRead); !s.ok()) return s;
       Op arrived, sent;
       RecvRequest recv;
       recv.completion = &arrived;
       if (b.wire->owner.qp->post_recv(recv) != PostStatus::kOk) {
         return absl::InternalError("no receive");
       }
       WorkRequest send;
       send.opcode = Opcode::kSendWithInv;
       send.completion = &sent;
       send.rkey = key->rkey;
       if (!b.wire->peer.qp->post_send(send).ok()) return absl::InternalError("no send");
       b.wire->run_until([&] { return arrived.wc && sent.wc; });
       const bool reported = arrived.succeeded() && arrived.wc->invalidated &&
                             arrived.wc->invalidated_rkey == key->rkey;
       const bool came = arrived.succeeded();
       if (!arrived.wc || !sent.wc || !came) {
         b.wire->owner.qp.reset();
         b.wire->peer.qp.reset();
         return absl::InternalError("the SEND with invalidate did not arrive");
       }
       const Tried tried = attempt(b, Request::kRead, key->rkey, key->address);
       b.wire->owner.qp.reset();
       RuleLine line = judge_refused(l, tried);
       line.outcome += reported ? ", reported to the owner" : ", not reported to the owner";
       return line;
     }},
    {"stale-key", "a READ with the key of an earlier registration of the same MR", true,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       absl::StatusOr<Key> key = fast_key(b, kBoth);
       if (!key.ok()) return key.status();
       if (absl::Status s = expose(b, *key, Access::kRemoteRead); !s.ok()) return s;
       const Rkey stale = key->rkey;
       if (absl::Status s = invalidate(b, *key); !s.ok()) return s;
       key->fast->advance_key();
       if (absl::Status s = expose(b, *key, Access::kRemoteRead); !s.ok()) return s;
       const Tried tried = attempt(b, Request::kRead, stale, key->address);
       b.wire->owner.qp.reset();
       return judge_refused(l, tried);
     }},
    {"other-qp", "a READ with a key that another connection registered", true,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       if (!b.device.caps().keys_bound_to_qp) {
         l.verdict = Verdict::kAbsent;
         l.outcome = "keys are good on every connection of their Pd";
         return l;
       }
       absl::StatusOr<Key> key = fast_key(b, kBoth);
       if (!key.ok()) return key.status();
       if (absl::Status s = expose(b, *key, Access::kRemoteRead); !s.ok()) return s;
       std::unique_ptr<Wire> first = std::move(b.wire);
       absl::StatusOr<std::unique_ptr<Wire>> second =
           Wire::create(b.device, b.address, b.reactor, *b.owner_pd, *b.peer_pd);
       if (!second.ok()) return second.status();
       b.wire = *std::move(second);
       const Tried tried = attempt(b, Request::kRead, key->rkey, key->address);
       b.wire.reset();
       first.reset();
       return judge_refused(l, tried);
     }},
    {"beyond-the-ceiling", "a registration for WRITE through an MR allocated for READ", true,
     [](Bench& b, RuleLine l) -> absl::StatusOr<RuleLine> {
       absl::StatusOr<Key> key = fast_key(b, Access::kRemoteRead);
       if (!key.ok()) return key.status();
       const absl::Status status = expose(b, *key, kWritable);
       l.outcome = status.ok() ? "accepted" : std::string(status.message());
       l.verdict = status.ok() ? Verdict::kBroken : Verdict::kHolds;
       b.wire->owner.qp.reset();
       return l;
     }},
};

absl::StatusOr<std::unique_ptr<Bench>> make_bench(Device& device, const Address& address,
                                                  Reactor& reactor) {
  auto bench = std::make_unique<Bench>(device, address, reactor);
  for (std::unique_ptr<Pd>* pd : {&bench->owner_pd, &bench->other_pd, &bench->peer_pd}) {
    absl::StatusOr<std::unique_ptr<Pd>> made = device.alloc_pd();
    if (!made.ok()) return made.status();
    *pd = *std::move(made);
  }
  const Access sink =
      local_access_for(BufferRole::kReadSink, device.caps().read_sink_needs_remote_write);
  absl::StatusOr<std::unique_ptr<Mr>> mr = bench->peer_pd->reg_mr(bench->local, sink);
  if (!mr.ok()) return mr.status();
  bench->local_mr = *std::move(mr);
  absl::StatusOr<std::unique_ptr<Wire>> wire =
      Wire::create(device, address, reactor, *bench->owner_pd, *bench->peer_pd);
  if (!wire.ok()) return wire.status();
  bench->wire = *std::move(wire);
  return bench;
}

}  // namespace

bool Report::passed() const {
  const auto fine = [](const auto& line) { return line.verdict != Verdict::kBroken; };
  return std::all_of(flags.begin(), flags.end(), fine) &&
         std::all_of(rules.begin(), rules.end(), fine);
}

absl::StatusOr<Report> run(Device& device, const Address& address) {
  absl::StatusOr<std::unique_ptr<Reactor>> reactor = Reactor::create();
  if (!reactor.ok()) return reactor.status();
  const DeviceCaps& caps = device.caps();
  Report report{.device = caps.name,
                .registration = std::string(to_string(caps.registration)),
                .iwarp = caps.iwarp,
                .read_sink_needs_remote_write = caps.read_sink_needs_remote_write,
                .flags = {},
                .rules = {}};
  {
    absl::StatusOr<std::unique_ptr<Pd>> pd = device.alloc_pd();
    if (!pd.ok()) return pd.status();
    std::vector<std::byte> memory(kSize);
    audit_flags(**pd, memory, report);
  }
  for (const Rule& rule : kRules) {
    RuleLine line{.rule = rule.name, .meaning = rule.meaning, .outcome = ""};
    if (rule.fast && caps.registration == Registration::kPreRegistered) {
      line.verdict = Verdict::kAbsent;
      line.outcome = "no key of its own for an I/O: peers get the base region's";
      report.rules.push_back(line);
      continue;
    }
    absl::StatusOr<std::unique_ptr<Bench>> bench = make_bench(device, address, **reactor);
    if (!bench.ok()) return bench.status();
    absl::StatusOr<RuleLine> judged = rule.probe(**bench, line);
    if (judged.ok()) {
      line = *std::move(judged);
    } else {
      // A step that must work on every device did not.
      line.verdict = Verdict::kBroken;
      line.outcome = std::string(judged.status().message());
    }
    (*bench)->wire.reset();
    report.rules.push_back(std::move(line));
  }
  return report;
}

}  // namespace mrpool::audit
