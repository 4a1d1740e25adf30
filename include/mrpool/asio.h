// mrpool for programs that are written with Boost.Asio: the one public header that includes it.
//
// Two directions:
//   io_context(reactor)   the io_context a Reactor runs: timers, signals, files (on io_uring) and
//                         coroutines on the same thread, with Reactor::run() as the loop;
//   AsioDriver            runs a Reactor from an io_context of yours, with io.run() as the loop.
// And operations with completion tokens (use_awaitable is the default) in place of the library's
// intrusive callbacks:
//   auto lease = co_await async_get(pool, reactor);
//   auto [posted, wc] = co_await async_post(qp, write);
// AsioLoan does the same for the key of one I/O, AsioQp and AsioListener for connections.
//
// Thread safety: everything here is called, and calls back, on the reactor's thread; a handler with
// an executor of its own runs there. Handlers never run inside the call that starts an operation.
// Cancellation: every operation honors its handler's cancellation slot, so `operation || timer` of
// Asio's awaitable operators returns when the timer is first. What only waits here (async_get,
// async_accept, async_connected, async_disconnected, AsioLoan::async_begin, an async_transfer of
// which nothing is posted) is taken back by every type of cancellation. A request that the
// device has already cannot be cancelled alone. Terminal cancellation, which is what `||` uses,
// then aborts the Qp. The operation ends as flushed when the device no longer needs its memory.
// Other types of cancellation have no effect then. Ownership: what is passed by reference must
// outlive the operation, scatter lists and chains only its start (a list of more than
// RwOperation::kInlineSegments segments: all of the transfer). An operation ends by its event or
// its cancellation, never with the io_context. To end a program, close the listener, disconnect the
// Qps and let the coroutines return before the reactor stops for the last time
// (docs/reference/ownership.md). Memory: an operation allocates once, from the handler's allocator
// (by default Asio's per-thread cache), so the intrusive interface stays the one for the hottest
// paths.
#pragma once

#include <boost/asio/append.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "mrpool/internal/report.h"
#include "mrpool/lender.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "mrpool/reactor.h"
#include "mrpool/rw.h"
#include "mrpool/work.h"

namespace mrpool {

// Requires a reactor made by Reactor::create.
inline boost::asio::io_context& io_context(Reactor& reactor) { return *reactor.io_context(); }

// Runs a reactor's rounds as handlers of another io_context, between that one's own. While the
// reactor has work its rounds follow each other; after `spin` without any it waits for
// Reactor::fd(). Do not call run() or poll() of a driven reactor. Destroying the driver leaves the
// reactor as it is; both live on the thread that runs `io`.
class AsioDriver {
 public:
  // Drives `reactor` from `io` until it is destroyed; `spin` as in ReactorOptions.
  AsioDriver(Reactor& reactor, boost::asio::io_context& io,
             Nanoseconds spin = ReactorOptions{}.spin)
      : state_(std::make_shared<State>(reactor, io, spin)) {
    State::next_round(state_);
  }
  AsioDriver(const AsioDriver&) = delete;
  AsioDriver& operator=(const AsioDriver&) = delete;
  ~AsioDriver() {
    state_->driven = false;
    state_->descriptor.release();  // the reactor's to close; ends the wait
  }

 private:
  struct State {
    State(Reactor& driven_reactor, boost::asio::io_context& io_context, Nanoseconds spin_time)
        : reactor(driven_reactor),
          io(io_context),
          descriptor(io_context, driven_reactor.fd()),
          spin(spin_time) {}

    static void next_round(const std::shared_ptr<State>& state) {
      boost::asio::post(state->io, [state] { round(state); });
    }

    static void round(const std::shared_ptr<State>& state) {
      if (!state->driven) return;
      const bool worked = state->reactor.poll() > 0;
      const Nanoseconds now = state->reactor.now();
      if (worked) state->busy = now;
      if (worked || now - state->busy < state->spin || !state->reactor.arm()) {
        return next_round(state);
      }
      state->descriptor.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                   [state](boost::system::error_code) { round(state); });
    }

    Reactor& reactor;
    boost::asio::io_context& io;
    boost::asio::posix::stream_descriptor descriptor;
    const Nanoseconds spin;
    Nanoseconds busy{};
    bool driven = true;
  };

  std::shared_ptr<State> state_;
};

namespace asio_detail {

using HomeExecutor = boost::asio::io_context::executor_type;

inline HomeExecutor home_of(Reactor& reactor) { return io_context(reactor).get_executor(); }

// What every operation here is: a handler, kept until the intrusive object it is derived with
// calls.
template <typename Handler, typename Intrusive>
class Operation final : public Intrusive {
  using Executor = boost::asio::associated_executor_t<Handler, HomeExecutor>;
  using Allocator = typename std::allocator_traits<boost::asio::associated_allocator_t<
      Handler, boost::asio::recycling_allocator<void>>>::template rebind_alloc<Operation>;

 public:
  template <typename... Args>
  static Operation& make(Handler handler, Reactor& reactor, Args&&... args) {
    Allocator allocator(
        boost::asio::get_associated_allocator(handler, boost::asio::recycling_allocator<void>()));
    Operation* memory = std::allocator_traits<Allocator>::allocate(allocator, 1);
    return *new (memory) Operation(std::move(handler), reactor, std::forward<Args>(args)...);
  }

  // The operation ended inside the loop: calls the handler here and now where it belongs to this
  // reactor, through its executor otherwise. Frees the operation first.
  template <typename... Results>
  void complete(Results... results) {
    boost::asio::get_associated_cancellation_slot(handler_).clear();
    const HomeExecutor home = home_of(reactor_);
    const auto work = std::move(work_);  // held until the executor has the handler
    const Executor executor = work.get_executor();
    Handler handler = finish();
    if constexpr (std::is_constructible_v<Executor, HomeExecutor>) {
      if (executor == Executor(home)) return std::move(handler)(std::move(results)...);
    }
    boost::asio::dispatch(executor, boost::asio::append(std::move(handler), std::move(results)...));
  }

  // The operation ended inside the call that should start it.
  template <typename... Results>
  void complete_later(Results... results) {
    const auto work = std::move(work_);
    const Executor executor = work.get_executor();
    Handler handler = finish();
    boost::asio::post(executor, boost::asio::append(std::move(handler), std::move(results)...));
  }

  // Calls `cancelled(type)` when the handler's cancellation slot is signalled before complete().
  // It returns true when it has ended the operation, by complete_later().
  template <typename Cancelled>
  void on_cancel(Cancelled cancelled) {
    auto slot = boost::asio::get_associated_cancellation_slot(handler_);
    if (!slot.is_connected()) return;
    // The signal may be emitted again after the operation ended.
    slot.assign([cancelled, ended = false](boost::asio::cancellation_type type) mutable {
      if (!ended) ended = cancelled(type);
    });
  }

 private:
  template <typename... Args>
  Operation(Handler&& handler, Reactor& reactor, Args&&... args)
      : Intrusive(std::forward<Args>(args)...),
        reactor_(reactor),
        handler_(std::move(handler)),
        work_(boost::asio::get_associated_executor(handler_, home_of(reactor))) {}
  ~Operation() = default;

  Handler finish() {
    Handler handler = std::move(handler_);
    Allocator allocator(
        boost::asio::get_associated_allocator(handler, boost::asio::recycling_allocator<void>()));
    this->~Operation();
    std::allocator_traits<Allocator>::deallocate(allocator, this, 1);
    return handler;
  }

  Reactor& reactor_;
  Handler handler_;
  boost::asio::executor_work_guard<Executor> work_;
};

// Completion's destructor is protected; a base of ours makes it one we may end.
class OwnedCompletion : public Completion {
 public:
  using Completion::Completion;
};

// An intrusive callback with the results of an operation.
template <typename... Results>
class Signal {
 public:
  using Done = void (*)(Signal& self, Results... results);
  explicit Signal(Done done_fn) : done_(done_fn) {}
  void done(Results... results) { done_(*this, std::move(results)...); }

 private:
  Done done_;
};

template <typename... Results, typename Handler>
auto& make_signal(Handler handler, Reactor& reactor) {
  using Op = Operation<Handler, Signal<Results...>>;
  return Op::make(std::move(handler), reactor, to_method<&Op::template complete<Results...>>);
}

inline bool is_terminal(boost::asio::cancellation_type type) {
  return (type & boost::asio::cancellation_type::terminal) != boost::asio::cancellation_type::none;
}

// What ends an operation that the device has: its Qp does.
struct AbortQp {
  Qp* qp;
  bool operator()(boost::asio::cancellation_type type) const {
    if (is_terminal(type)) qp->abort();
    return false;
  }
};

// `slot`, a place for the one that waits, must be free.
template <typename Waiting>
void check_free(const Waiting* slot, const char* call, const char* type, const void* object) {
  if (slot != nullptr) [[unlikely]]
    internal::misuse(call, type, object, "has one of these under way already");
}

}  // namespace asio_detail

// A lease from `pool` as soon as one is free, first come, first served. Handler: void(Lease); the
// lease is empty when the operation was cancelled through the handler's cancellation slot.
template <typename Token = boost::asio::use_awaitable_t<>>
auto async_get(MrPool& pool, Reactor& reactor, Token&& token = Token()) {
  return boost::asio::async_initiate<Token, void(MrPool::Lease)>(
      [](auto handler, MrPool* from, Reactor* home) {
        using Op = asio_detail::Operation<decltype(handler), MrPool::Waiter>;
        Op& op = Op::make(std::move(handler), *home, *home,
                          to_method<&Op::template complete<MrPool::Lease>>);
        op.on_cancel([from, &op](boost::asio::cancellation_type) {
          if (!from->cancel(op)) return false;
          op.complete_later(MrPool::Lease());
          return true;
        });
        from->get(op);
      },
      token, &pool, &reactor);
}

// Posts a chain of work requests and waits for the last one, which becomes signalled. Handler:
// void(PostResult, WorkCompletion); the completion means something when the post was taken whole.
template <typename Token = boost::asio::use_awaitable_t<>>
auto async_post(Qp& qp, WorkRequest& chain, Token&& token = Token()) {
  return boost::asio::async_initiate<Token, void(PostResult, WorkCompletion)>(
      [](auto handler, Qp* on, WorkRequest* first) {
        using Op = asio_detail::Operation<decltype(handler), asio_detail::OwnedCompletion>;
        Op& op = Op::make(std::move(handler), on->reactor(),
                          [](Completion& self, const WorkCompletion& wc) {
                            static_cast<Op&>(self).complete(PostResult(), wc);
                          });
        WorkRequest* last = first;
        while (last->next != nullptr) last = last->next;
        last->completion = &op;
        last->signalled = true;
        const PostResult posted = on->post_send(*first);
        if (!posted.ok()) return op.complete_later(posted, WorkCompletion());
        op.on_cancel(asio_detail::AbortQp{on});
      },
      token, &qp, &chain);
}

// Posts one receive and waits for the message. Handler: void(PostStatus, WorkCompletion).
template <typename Token = boost::asio::use_awaitable_t<>>
auto async_receive(Qp& qp, std::span<const Sge> into, Token&& token = Token()) {
  return boost::asio::async_initiate<Token, void(PostStatus, WorkCompletion)>(
      [](auto handler, Qp* on, std::span<const Sge> sges) {
        using Op = asio_detail::Operation<decltype(handler), asio_detail::OwnedCompletion>;
        Op& op = Op::make(std::move(handler), on->reactor(),
                          [](Completion& self, const WorkCompletion& wc) {
                            static_cast<Op&>(self).complete(PostStatus::kOk, wc);
                          });
        RecvRequest request;
        request.completion = &op;
        request.sges = sges;
        const PostStatus posted = on->post_recv(request);
        if (posted != PostStatus::kOk) return op.complete_later(posted, WorkCompletion());
        op.on_cancel(asio_detail::AbortQp{on});
      },
      token, &qp, into);
}

namespace asio_detail {

// async_transfer of either kind of scatter list.
template <typename Local, typename Token>
auto transfer(RwContext& context, Reactor& reactor, RwDirection direction, Local local,
              const RemoteBuffer& remote, Token&& token) {
  return boost::asio::async_initiate<Token, void(PostStatus, WcStatus)>(
      [](auto handler, RwContext* on, Reactor* home, RwDirection way, Local memory,
         RemoteBuffer peer) {
        using Op = Operation<decltype(handler), RwOperation>;
        Op& op = Op::make(std::move(handler), *home, [](RwOperation& self, WcStatus status) {
          static_cast<Op&>(self).complete(PostStatus::kOk, status);
        });
        const PostStatus started = on->start(op, way, memory, peer);
        if (started != PostStatus::kOk) return op.complete_later(started, WcStatus::kSuccess);
        op.on_cancel([on, &op](boost::asio::cancellation_type type) {
          if (!on->cancel(op)) return AbortQp{&on->qp()}(type);
          op.complete_later(PostStatus::kOk, WcStatus::kCancelled);
          return true;
        });
      },
      token, &context, &reactor, direction, local, remote);
}

}  // namespace asio_detail

// Moves bytes between `local` and the peer's `remote`, through the context's MRs and credits.
// Handler: void(PostStatus, WcStatus); the second means something when the first is kOk, and is
// kCancelled when the operation was cancelled before all of it had been posted.
template <typename Token = boost::asio::use_awaitable_t<>>
auto async_transfer(RwContext& context, Reactor& reactor, RwDirection direction,
                    std::span<const Sge> local, const RemoteBuffer& remote,
                    Token&& token = Token()) {
  return asio_detail::transfer(context, reactor, direction, local, remote,
                               std::forward<Token>(token));
}
// The same with the next `remote.length` bytes of a longer list.
template <typename Token = boost::asio::use_awaitable_t<>>
auto async_transfer(RwContext& context, Reactor& reactor, RwDirection direction,
                    const SegmentIterator& local, const RemoteBuffer& remote,
                    Token&& token = Token()) {
  return asio_detail::transfer(context, reactor, direction, local, remote,
                               std::forward<Token>(token));
}

// A Loan (mrpool/lender.h) whose steps are awaited. One step at a time; begun, ended and destroyed
// as a Loan is. Lender::post() does not wait and takes loan().
class AsioLoan {
 public:
  // A loan of a Qp of `reactor`.
  explicit AsioLoan(Reactor& reactor) : reactor_(reactor), loan_(*this, reactor) {}

  // Lender::begin. Handler: void(LoanStatus): kReady, kNotMapped, kAccessDenied, or kReturned when
  // it was cancelled through the handler's cancellation slot. The array `memory` must stay until
  // then.
  template <typename Token = boost::asio::use_awaitable_t<>>
  auto async_begin(Lender& lender, std::span<const Sge> memory, Access rights,
                   Token&& token = Token()) {
    return boost::asio::async_initiate<Token, void(LoanStatus)>(
        [](auto handler, AsioLoan* self, Lender* from, std::span<const Sge> sges, Access access) {
          asio_detail::check_free(self->waiting_, "async_begin", "AsioLoan", self);
          self->await(std::move(handler), *from, from->begin(self->loan_, sges, access));
        },
        token, this, &lender, memory, rights);
  }
  // Lender::end, with the peer's answer or without. Handler: void(LoanStatus): kReturned, or what
  // went wrong.
  template <typename Token = boost::asio::use_awaitable_t<>>
  auto async_end(Lender& lender, const WorkCompletion& answer = {}, Token&& token = Token()) {
    return boost::asio::async_initiate<Token, void(LoanStatus)>(
        [](auto handler, AsioLoan* self, Lender* from, WorkCompletion wc) {
          asio_detail::check_free(self->waiting_, "async_end", "AsioLoan", self);
          self->await(std::move(handler), *from, from->end(self->loan_, wc));
        },
        token, this, &lender, answer);
  }

  // The loan that the lender knows.
  Loan& loan() { return loan_; }
  // The buffer to send to the peer: Loan::remote().
  RemoteBuffer remote() const { return loan_.remote(); }

 private:
  using Signal = asio_detail::Signal<LoanStatus>;

  template <typename Handler>
  void await(Handler handler, Lender& lender, LoanStatus started) {
    auto& op = asio_detail::make_signal<LoanStatus>(std::move(handler), reactor_);
    if (started != LoanStatus::kPending) return op.complete_later(started);
    waiting_ = &op;
    op.on_cancel([this, &lender, &op](boost::asio::cancellation_type type) {
      if (loan_.state() != Loan::State::kWaiting) {
        // The key is being ended; only its Qp's end is quicker.
        return lender.qp() != nullptr && asio_detail::AbortQp{lender.qp()}(type);
      }
      (void)lender.end(loan_);
      waiting_ = nullptr;
      op.complete_later(LoanStatus::kReturned);
      return true;
    });
  }
  void done(LoanStatus status) { std::exchange(waiting_, nullptr)->done(status); }

  Reactor& reactor_;
  Signal* waiting_ = nullptr;
  Bound<Loan, &AsioLoan::done> loan_;
};

// A Qp whose connection is reported through completion tokens. One operation of each kind at a
// time. Handlers on the reactor's own executor run from inside the connection's events, so a
// receive that is posted before the coroutine suspends again is there before the peer's first
// message.
class AsioQp final : private QpEvents {
 public:
  // No connection yet; `reactor` is that of the Cqs.
  explicit AsioQp(Reactor& reactor) : reactor_(reactor) {}
  AsioQp(const AsioQp&) = delete;
  AsioQp& operator=(const AsioQp&) = delete;

  // Device::connect; async_connected reports the outcome.
  absl::Status connect(Device& device, const Address& address, Pd& pd, const QpOptions& options,
                       const ConnectParams& params = {}) {
    return take(device.connect(address, pd, options, params, *this));
  }
  // ConnectRequest::accept; async_connected reports the outcome.
  absl::Status accept(ConnectRequest& request, Pd& pd, const QpOptions& options,
                      const ConnectParams& params = {}) {
    return take(request.accept(pd, options, params, *this));
  }

  // Handler: void(absl::Status). OK once the connection is there. NotFound: the host has no
  // address; DeadlineExceeded: no answer in time; Cancelled: the wait was cancelled, or this side
  // ended the connection; Unavailable: anything else, in words.
  template <typename Token = boost::asio::use_awaitable_t<>>
  auto async_connected(Token&& token = Token()) {
    return boost::asio::async_initiate<Token, void(absl::Status)>(
        [](auto handler, AsioQp* self) {
          asio_detail::check_free(self->on_connected_, "async_connected", "AsioQp", self);
          auto& op = asio_detail::make_signal<absl::Status>(std::move(handler), self->reactor_);
          if (self->connected_ || self->disconnected_) return op.complete_later(self->failure_);
          self->on_connected_ = &op;
          op.on_cancel([self, &op](boost::asio::cancellation_type) {
            self->on_connected_ = nullptr;
            op.complete_later(absl::CancelledError("the wait for the connection was cancelled"));
            return true;
          });
        },
        token, this);
  }

  // Handler: void(std::optional<DisconnectReason>); nothing when the wait was cancelled.
  template <typename Token = boost::asio::use_awaitable_t<>>
  auto async_disconnected(Token&& token = Token()) {
    using Reason = std::optional<DisconnectReason>;
    return boost::asio::async_initiate<Token, void(Reason)>(
        [](auto handler, AsioQp* self) {
          asio_detail::check_free(self->on_disconnected_, "async_disconnected", "AsioQp", self);
          auto& op = asio_detail::make_signal<Reason>(std::move(handler), self->reactor_);
          if (self->disconnected_) return op.complete_later(Reason(self->reason_));
          self->on_disconnected_ = &op;
          op.on_cancel([self, &op](boost::asio::cancellation_type) {
            self->on_disconnected_ = nullptr;
            op.complete_later(Reason());
            return true;
          });
        },
        token, this);
  }

  // The peer's, from its request, its answer or its rejection.
  std::span<const std::byte> private_data() const { return private_data_; }

  Qp& operator*() const { return *qp_; }
  Qp* operator->() const { return qp_.get(); }

 private:
  using Connected = asio_detail::Signal<absl::Status>;
  using Disconnected = asio_detail::Signal<std::optional<DisconnectReason>>;

  static absl::StatusCode code_of(DisconnectReason reason) {
    switch (reason) {
      case DisconnectReason::kUnresolved:
        return absl::StatusCode::kNotFound;
      case DisconnectReason::kTimeout:
        return absl::StatusCode::kDeadlineExceeded;
      case DisconnectReason::kLocal:
        return absl::StatusCode::kCancelled;
      default:
        return absl::StatusCode::kUnavailable;
    }
  }

  absl::Status take(absl::StatusOr<std::unique_ptr<Qp>> qp) {
    if (qp.ok()) qp_ = *std::move(qp);
    return qp.status();
  }

  void on_connected(Qp&, const ConnectionInfo& info) override {
    connected_ = true;
    private_data_.assign(info.private_data.begin(), info.private_data.end());
    if (Connected* waiting = std::exchange(on_connected_, nullptr)) waiting->done(absl::OkStatus());
  }
  void on_rejected(Qp&, std::span<const std::byte> private_data) override {
    private_data_.assign(private_data.begin(), private_data.end());
  }
  void on_disconnected(Qp&, const Disconnect& why) override {
    connected_ = false;
    disconnected_ = true;
    reason_ = why.reason;
    std::string text(to_string(why.reason));
    if (!why.detail.empty()) text.append(": ").append(why.detail);
    failure_ = absl::Status(code_of(why.reason), text);
    Connected* connecting = std::exchange(on_connected_, nullptr);
    Disconnected* waiting = std::exchange(on_disconnected_, nullptr);
    // Each may destroy this object, and with it the other's reason to wait.
    if (connecting != nullptr) return connecting->done(failure_);
    if (waiting != nullptr) waiting->done(reason_);
  }

  Reactor& reactor_;
  bool connected_ = false;
  bool disconnected_ = false;
  DisconnectReason reason_ = DisconnectReason::kLocal;
  absl::Status failure_;  // OK while connected
  std::vector<std::byte> private_data_;
  Connected* on_connected_ = nullptr;
  Disconnected* on_disconnected_ = nullptr;
  std::unique_ptr<Qp> qp_;
};

// A Listener whose requests are taken with async_accept; it keeps the requests that nobody has
// taken yet.
class AsioListener final : private ListenHandler {
 public:
  // No port yet; requests come on `reactor`.
  explicit AsioListener(Reactor& reactor) : reactor_(reactor) {}
  AsioListener(const AsioListener&) = delete;
  AsioListener& operator=(const AsioListener&) = delete;

  // Device::listen. An error leaves the listener as it was.
  absl::Status listen(Device& device, const Address& address) {
    absl::StatusOr<std::unique_ptr<Listener>> listener = device.listen(reactor_, address, *this);
    if (listener.ok()) listener_ = *std::move(listener);
    return listener.status();
  }
  // The port that is listened on, where `address` had 0 too. After listen() only.
  uint16_t port() const { return listener_->port(); }

  // Stops listening and rejects the requests nobody waited for. From now on async_accept, one under
  // way included, gives a null request: the accepting loop's sign to return.
  void close() {
    closed_ = true;
    listener_.reset();
    requests_.clear();
    // Last: it may destroy this object.
    if (Accepted* waiting = std::exchange(waiting_, nullptr)) waiting->done(nullptr);
  }

  // Why no request can come any more; OK while they can.
  const absl::Status& failure() const { return failure_; }

  // Handler: void(std::unique_ptr<ConnectRequest>). Null after close(), after the listener has
  // failed permanently (failure() has the reason), and after the wait was cancelled.
  template <typename Token = boost::asio::use_awaitable_t<>>
  auto async_accept(Token&& token = Token()) {
    using Request = std::unique_ptr<ConnectRequest>;
    return boost::asio::async_initiate<Token, void(Request)>(
        [](auto handler, AsioListener* self) {
          asio_detail::check_free(self->waiting_, "async_accept", "AsioListener", self);
          auto& op = asio_detail::make_signal<Request>(std::move(handler), self->reactor_);
          if (self->closed_) return op.complete_later(Request());
          if (self->requests_.empty()) {
            self->waiting_ = &op;
            op.on_cancel([self, &op](boost::asio::cancellation_type) {
              self->waiting_ = nullptr;
              op.complete_later(Request());
              return true;
            });
            return;
          }
          Request request = std::move(self->requests_.front());
          self->requests_.pop_front();
          op.complete_later(std::move(request));
        },
        token, this);
  }

 private:
  using Accepted = asio_detail::Signal<std::unique_ptr<ConnectRequest>>;

  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    if (Accepted* waiting = std::exchange(waiting_, nullptr)) {
      return waiting->done(std::move(request));
    }
    requests_.push_back(std::move(request));
  }
  void on_listen_error(const absl::Status& error) override {
    if (absl::IsResourceExhausted(error)) return ListenHandler::on_listen_error(error);
    failure_ = error;
    close();
  }

  Reactor& reactor_;
  bool closed_ = false;
  absl::Status failure_;
  Accepted* waiting_ = nullptr;
  std::deque<std::unique_ptr<ConnectRequest>> requests_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace mrpool
