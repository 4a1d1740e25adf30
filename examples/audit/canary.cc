#include "examples/audit/canary.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mrpool/callback.h"

namespace mrpool::audit {
namespace {

enum class Break {
  kUnknownFlag,
  kForbiddenFlags,
  kAnswer,
  kReadRight,
  kWriteRight,
  kBound,
  kFastBound,
  kFastRight,
  kPd,
  kInvalidate,
  kCeiling,
  kDeregister,
};

constexpr CanaryRule kCanaries[] = {
    {"unknown-flag", "accepts a mandatory flag it does not know", "bit 10"},
    {"forbidden-flags", "accepts remote write without local write", "remote_write"},
    {"answer", "does not report which optional flags it ignored", "local_write|bit 21"},
    {"read-right", "every key can be read", "read-without-right"},
    {"write-right", "every key can be written", "write-without-right"},
    {"bound", "a region is one page longer than asked for", "write-past-the-end"},
    {"fast-bound", "a fast-registered key opens 64 bytes more than were mapped",
     "fast-past-the-end"},
    {"fast-right", "a fast-registered key can always be written", "fast-write-without-right"},
    {"pd", "one protection domain for all", "other-pd"},
    {"invalidate", "a key stays valid after its local invalidation", "local-invalidate"},
    {"ceiling", "forgets the ceiling of an MR", "beyond-the-ceiling"},
    {"deregister", "a region stays registered forever", "deregistered"},
};

// Shared by everything a canary makes; outlives the regions that are never given back.
struct Plan {
  Break broken;
  std::shared_ptr<Device> device;
  std::unique_ptr<Pd> only_pd;  // kPd
};

class CanaryMr final : public Mr {
 public:
  CanaryMr(std::unique_ptr<Mr> mr, std::span<std::byte> memory, const Granted& granted, bool keep)
      : mr_(std::move(mr)), keep_(keep) {
    memory_ = memory;
    lkey_ = mr_->lkey();
    rkey_ = mr_->rkey();
    remote_addr_ = mr_->remote_addr();
    granted_ = granted;
  }
  ~CanaryMr() override {
    if (keep_) kept().push_back(std::move(mr_));
  }

  // Regions that were to be deregistered and are not; they go with the last Pd.
  static std::vector<std::unique_ptr<Mr>>& kept() {
    static std::vector<std::unique_ptr<Mr>> regions;
    return regions;
  }

 private:
  std::unique_ptr<Mr> mr_;
  const bool keep_;
};

// Maps more than it is given, or never dies.
class CanaryFastMr final : public FastMr {
 public:
  CanaryFastMr(std::unique_ptr<FastMr> mr, Break broken)
      : mr_(std::move(mr)),
        slack_(broken == Break::kFastBound ? 64 : 0),
        never_invalidated_(broken == Break::kInvalidate) {
    copy();
  }
  size_t map(std::span<const Sge> segments) override {
    std::vector<Sge> wider(segments.begin(), segments.end());
    wider.back().length += uint32_t(slack_);
    const size_t count = mr_->map(wider);
    copy();
    return count;
  }
  void advance_key() override {
    if (never_invalidated_) {
      // The real device's key is still open and cannot advance; a new one hides what the canary
      // did.
      (void)renew();
      return;
    }
    mr_->advance_key();
    copy();
  }
  bool needs_registration() const override { return mr_->needs_registration(); }
  Sge sge() const override { return mr_->sge(); }
  absl::Status renew() override {
    absl::Status status = mr_->renew();
    copy();
    return status;
  }
  FastMr* behind() { return mr_.get(); }

 private:
  void copy() {
    lkey_ = mr_->lkey();
    rkey_ = mr_->rkey();
    remote_addr_ = mr_->remote_addr();
    length_ = mr_->length();
  }
  const std::unique_ptr<FastMr> mr_;
  const size_t slack_;  // bytes mapped behind those asked for
  const bool never_invalidated_;
};

class CanaryPd final : public Pd {
 public:
  CanaryPd(std::shared_ptr<Plan> plan, std::unique_ptr<Pd> pd)
      : plan_(std::move(plan)), pd_(std::move(pd)) {}
  ~CanaryPd() override {
    if (pd_ != nullptr) CanaryMr::kept().clear();
  }

  Pd& behind() { return pd_ != nullptr ? *pd_ : *plan_->only_pd; }

  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte> memory, Access access) override {
    Access asked = access;
    std::span<std::byte> covered = memory;
    switch (plan_->broken) {
      case Break::kUnknownFlag:
        asked = (access & caps().access.known) | optional(access);
        break;
      case Break::kForbiddenFlags:
        if (any(access & kRemoteRights)) asked |= Access::kLocalWrite;
        break;
      case Break::kReadRight:
        asked |= Access::kRemoteRead;
        break;
      case Break::kWriteRight:
        asked |= Access::kLocalWrite | Access::kRemoteWrite;
        break;
      case Break::kBound:
        // The audit keeps guard memory after every region that it exposes for traffic.
        if (any(access & kRemoteRights) && memory.size() == 4096 &&
            has(access, Access::kRemoteWrite)) {
          covered = {memory.data(), memory.size() + 64};
        }
        break;
      default:
        break;
    }
    absl::StatusOr<std::unique_ptr<Mr>> mr = behind().reg_mr(covered, asked);
    if (!mr.ok()) return mr.status();
    Granted granted = (*mr)->granted();
    if (asked != access) granted = {access, access, Access::kNone, Access::kNone};
    if (plan_->broken == Break::kAnswer) granted.ignored = granted.unknown = Access::kNone;
    return std::make_unique<CanaryMr>(*std::move(mr), memory, granted,
                                      plan_->broken == Break::kDeregister);
  }

  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions& options) override {
    FastMrOptions changed = options;
    if (plan_->broken == Break::kCeiling) {
      changed.ceiling |= Access::kLocalWrite | Access::kRemoteWrite;
    }
    absl::StatusOr<std::unique_ptr<FastMr>> mr = behind().alloc_fast_mr(changed);
    if (!mr.ok()) return mr.status();
    return std::make_unique<CanaryFastMr>(*std::move(mr), plan_->broken);
  }

  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor& reactor,
                                                  const SrqOptions& options) override {
    return behind().create_srq(reactor, options);
  }
  const DeviceCaps& caps() const override { return plan_->device->caps(); }

 private:
  const std::shared_ptr<Plan> plan_;
  const std::unique_ptr<Pd> pd_;  // null under kPd
};

class CanaryQp final : public Qp {
 public:
  CanaryQp(std::shared_ptr<Plan> plan, std::unique_ptr<Qp> qp)
      : plan_(std::move(plan)), qp_(std::move(qp)) {}

  PostResult post_send(const WorkRequest& chain) override {
    // One by one: the audit's chains have nothing that depends on being posted together.
    for (const WorkRequest* request = &chain; request != nullptr; request = request->next) {
      WorkRequest copy = *request;
      copy.next = nullptr;
      if (copy.mr != nullptr) copy.mr = static_cast<CanaryFastMr*>(copy.mr)->behind();
      if (copy.opcode == Opcode::kRegMr && plan_->broken == Break::kFastRight) {
        copy.access |= Access::kLocalWrite | Access::kRemoteWrite;
      }
      if (copy.opcode == Opcode::kLocalInv && plan_->broken == Break::kInvalidate) {
        pretend(copy);
        continue;
      }
      if (const PostResult posted = qp_->post_send(copy); !posted.ok()) {
        return {posted.status, request, posted.denied};
      }
    }
    return {};
  }
  PostStatus post_recv(const RecvRequest& chain) override { return qp_->post_recv(chain); }
  void disconnect() override { qp_->disconnect(); }
  void abort() override { qp_->abort(); }
  bool connected() const override { return qp_->connected(); }
  ConnectionState state() const override { return qp_->state(); }
  bool supports(Opcode opcode) const override { return qp_->supports(opcode); }
  Pd& pd() override { return qp_->pd(); }
  Reactor& reactor() override { return qp_->reactor(); }
  const QpOptions& options() const override { return qp_->options(); }
  uint32_t send_room() const override { return qp_->send_room(); }
  uint16_t ord() const override { return qp_->ord(); }
  size_t memory_bytes() const override { return qp_->memory_bytes(); }

 private:
  // Completes a request that was not carried out, from the loop as every completion.
  void pretend(const WorkRequest& request) {
    struct Pretence : Task {
      Pretence(Completion* completion, Qp* qp)
          : Task(to_method<&Pretence::complete>), completion(completion), qp(qp) {}
      void complete() {
        WorkCompletion wc;
        wc.opcode = Opcode::kLocalInv;
        wc.qp = qp;
        completion->done(wc);
        delete this;
      }
      Completion* completion;
      Qp* qp;
    };
    reactor().post(*new Pretence(request.completion, this));
  }

  const std::shared_ptr<Plan> plan_;
  const std::unique_ptr<Qp> qp_;
};

class CanaryDevice final : public Device {
 public:
  explicit CanaryDevice(std::shared_ptr<Plan> plan) : plan_(std::move(plan)) {}

  const DeviceCaps& caps() const override { return plan_->device->caps(); }
  absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() override {
    if (plan_->broken == Break::kPd) return std::make_unique<CanaryPd>(plan_, nullptr);
    absl::StatusOr<std::unique_ptr<Pd>> pd = plan_->device->alloc_pd();
    if (!pd.ok()) return pd.status();
    return std::make_unique<CanaryPd>(plan_, *std::move(pd));
  }
  absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor,
                                                const CqOptions& options) override {
    return plan_->device->create_cq(reactor, options);
  }
  absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor& reactor, const Address& address,
                                                   ListenHandler& handler) override;
  absl::StatusOr<std::unique_ptr<Qp>> connect(const Address& address, Pd& pd,
                                              const QpOptions& options, const ConnectParams& params,
                                              QpEvents& events) override {
    absl::StatusOr<std::unique_ptr<Qp>> qp = plan_->device->connect(
        address, static_cast<CanaryPd&>(pd).behind(), options, params, events);
    if (!qp.ok()) return qp.status();
    return std::make_unique<CanaryQp>(plan_, *std::move(qp));
  }

 private:
  const std::shared_ptr<Plan> plan_;
};

class CanaryRequest final : public ConnectRequest {
 public:
  CanaryRequest(std::shared_ptr<Plan> plan, std::unique_ptr<ConnectRequest> request)
      : plan_(std::move(plan)), request_(std::move(request)) {}
  const ConnectionInfo& info() const override { return request_->info(); }
  absl::StatusOr<std::unique_ptr<Qp>> accept(Pd& pd, const QpOptions& options,
                                             const ConnectParams& params,
                                             QpEvents& events) override {
    absl::StatusOr<std::unique_ptr<Qp>> qp =
        request_->accept(static_cast<CanaryPd&>(pd).behind(), options, params, events);
    if (!qp.ok()) return qp.status();
    return std::make_unique<CanaryQp>(plan_, *std::move(qp));
  }
  absl::Status reject(std::span<const std::byte> private_data) override {
    return request_->reject(private_data);
  }

 private:
  const std::shared_ptr<Plan> plan_;
  const std::unique_ptr<ConnectRequest> request_;
};

class CanaryListener final : public Listener, private ListenHandler {
 public:
  CanaryListener(std::shared_ptr<Plan> plan, ListenHandler& handler)
      : plan_(std::move(plan)), handler_(handler) {}
  absl::Status start(Reactor& reactor, const Address& address) {
    absl::StatusOr<std::unique_ptr<Listener>> listener =
        plan_->device->listen(reactor, address, *this);
    if (listener.ok()) listener_ = *std::move(listener);
    return listener.status();
  }
  uint16_t port() const override { return listener_->port(); }

 private:
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    handler_.on_connect_request(std::make_unique<CanaryRequest>(plan_, std::move(request)));
  }
  void on_listen_error(const absl::Status& error) override { handler_.on_listen_error(error); }
  const std::shared_ptr<Plan> plan_;
  ListenHandler& handler_;
  std::unique_ptr<Listener> listener_;
};

absl::StatusOr<std::unique_ptr<Listener>> CanaryDevice::listen(Reactor& reactor,
                                                               const Address& address,
                                                               ListenHandler& handler) {
  auto listener = std::make_unique<CanaryListener>(plan_, handler);
  if (absl::Status status = listener->start(reactor, address); !status.ok()) return status;
  return listener;
}

}  // namespace

std::span<const CanaryRule> canary_rules() { return kCanaries; }

absl::StatusOr<std::shared_ptr<Device>> make_canary(std::shared_ptr<Device> device,
                                                    std::string_view rule) {
  const auto* found = std::find_if(std::begin(kCanaries), std::end(kCanaries),
                                   [&](const CanaryRule& canary) { return canary.name == rule; });
  if (found == std::end(kCanaries)) {
    std::string names;
    for (const CanaryRule& canary : kCanaries)
      absl::StrAppend(&names, " ", std::string(canary.name));
    return absl::InvalidArgumentError(
        absl::StrCat("no canary breaks '", std::string(rule), "'; there are:", names));
  }
  auto plan = std::make_shared<Plan>();
  plan->broken = Break(found - std::begin(kCanaries));
  plan->device = std::move(device);
  if (plan->broken == Break::kPd) {
    absl::StatusOr<std::unique_ptr<Pd>> pd = plan->device->alloc_pd();
    if (!pd.ok()) return pd.status();
    plan->only_pd = *std::move(pd);
  }
  return std::make_shared<CanaryDevice>(plan);
}

}  // namespace mrpool::audit
