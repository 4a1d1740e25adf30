#include "examples/iser/initiator/client.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"
#include "examples/base/exit_status.h"
#include "examples/base/secret_file.h"
#include "examples/iser/initiator/attempts.h"
#include "examples/iser/initiator/limits.h"
#include "examples/load/options.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/iscsi/text.h"
#include "examples/protocol/scsi/target_device.h"

namespace mrpool::iser {
namespace {

constexpr size_t kBuffer = kMaxCommandData;
constexpr base::DurationRange kTimeouts{.least = std::chrono::milliseconds(1),
                                        .most = std::chrono::hours(24)};

// Checks that the value of an option is an iSCSI name.
absl::Status check_name(const char* option, const std::string& name) {
  if (name.empty() || iscsi::valid_written_name(iscsi::normal_iscsi_name(name))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      option, " '", name, "' is not an iSCSI name; write it as iqn.2026-11.org.example:name"));
}

// Messages never contain a secret, not even an invalid one.
absl::Status parse_chap(const char* option, const std::string& text, iscsi::Credentials& to) {
  const absl::Status status = iscsi::parse_credentials(text, to);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(option, ": ", status.message()));
}

// Reads an account from the option `name`, or from the file of `name`-file.
absl::Status read_account(const std::string& name, const std::string& text,
                          const std::string& place, std::optional<iscsi::Credentials>& to) {
  if (!text.empty()) return parse_chap(name.c_str(), text, to.emplace());
  if (place.empty()) return absl::OkStatus();
  const std::string option = name + "-file";
  const auto line = base::read_secret(place);
  if (!line.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(option, ": ", line.status().message()));
  }
  return parse_chap(absl::StrCat(option, " ", place).c_str(), *line, to.emplace());
}

absl::Status read_accounts(const ClientOptions& options, iscsi::InitiatorLoginOptions& login) {
  absl::Status status = read_account("--chap", options.chap, options.chap_file, login.chap);
  status.Update(
      read_account("--mutual-chap", options.mutual_chap, options.mutual_chap_file, login.mutual));
  if (!status.ok() || !login.mutual) return status;
  if (!login.chap) {
    return absl::InvalidArgumentError("--mutual-chap needs --chap, or --chap-file");
  }
  // RFC 7143 §9.2.1: with equal secrets, a peer could return the challenge and reuse the answer.
  if (login.mutual->secret != login.chap->secret) return absl::OkStatus();
  return absl::InvalidArgumentError("--chap and --mutual-chap: the secrets must differ");
}

}  // namespace

int fail(const absl::Status& status) {
  return base::fail("mrpool-iser", load::Interrupt::outcome(status));
}

void add_options(base::CommandLine& command, ClientOptions& options) {
  command.operand("ADDRESS", "where the target listens: uiwarp://HOST:PORT or verbs://HOST:PORT",
                  "uiwarp://127.0.0.1:3260", options.address);
  command.section("Connection");
  command.text("initiator", "IQN", "this side's name", options.initiator);
  const auto secret = [](std::string& to) {
    return [&to](std::string_view text) {
      iscsi::Credentials checked;
      const absl::Status status = iscsi::parse_credentials(std::string(text), checked);
      if (status.ok()) to = text;
      return status;
    };
  };
  command.secret("chap", "USER:SECRET", "CHAP account of this initiator", secret(options.chap));
  command.secret("mutual-chap", "USER:SECRET", "CHAP account of the target",
                 secret(options.mutual_chap));
  command.text("chap-file", "FILE",
               "file with the line USER:SECRET for --chap; mode 600, or credential:NAME",
               options.chap_file);
  command.text("mutual-chap-file", "FILE", "the same for --mutual-chap", options.mutual_chap_file);
  command.excludes("chap-file", {"chap"}, "give the account once; a file keeps it secret");
  command.excludes("mutual-chap-file", {"mutual-chap"},
                   "give the account once; a file keeps it secret");
  command.duration("connect-timeout", "for connect and login", options.connect_timeout, kTimeouts);
  command.duration("timeout", "for one command", options.timeout, kTimeouts);
  command.flag("no-immediate-data", "send no data with commands", options.no_immediate_data);
  command.flag("no-remote-invalidation", "invalidate every key on this side",
               options.no_remote_invalidation);
  command.flag("spin", "poll without ever sleeping: least latency, a whole core", options.spin);
}

void add_unit_options(base::CommandLine& command, ClientOptions& options) {
  command.required("--target IQN");
  command.section("Unit");
  command.text("target", "IQN", "the target's name", options.target);
  command.count("lun", "the logical unit", options.lun, {.most = kMaxLun});
  add_options(command, options);
}

Client::~Client() {
  interrupt_.reset();
  sessions_.clear();
  buffer_.reset();
  pool_.reset();
  pd_.reset();
}

absl::Status check_target(const ClientOptions& options) {
  if (!options.target.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--target is missing; `mrpool-iser ls ",
                                                 options.address, "` shows the targets"));
}

absl::Status check_bs(uint32_t bytes) {
  if (bytes <= kMaxCommandData) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--bs ", bytes, " is more than a command moves at once, ", kMaxCommandData));
}

absl::StatusOr<std::unique_ptr<Client>> connect(const ClientOptions& options) {
  if (absl::Status status = check_target(options); !status.ok()) return status;
  auto client = Client::create(options);
  if (!client.ok()) return client.status();
  auto session = (*client)->log_in();
  if (!session.ok()) return session.status();
  return client;
}

absl::StatusOr<std::unique_ptr<Client>> Client::create(const ClientOptions& options,
                                                       uint32_t sessions) {
  std::unique_ptr<Client> client(new Client(options));
  if (absl::Status status = client->open(sessions); !status.ok()) return status;
  return client;
}

absl::Status Client::open(uint32_t sessions) {
  absl::StatusOr<Address> address = Address::parse(options_.address);
  if (!address.ok()) return address.status();
  address_ = *address;
  if (address_.port == 0) address_.port = iscsi::kDefaultPort;
  if (absl::Status status = check_name("--target", options_.target); !status.ok()) return status;
  if (absl::Status status = check_name("--initiator", options_.initiator); !status.ok()) {
    return status;
  }
  auto reactor =
      Reactor::create({.spin = options_.spin ? Nanoseconds::max() : ReactorOptions{}.spin});
  if (!reactor.ok()) return reactor.status();
  reactor_ = *std::move(reactor);
  interrupt_.emplace(*reactor_, [this](load::Interrupt::Step step) { tell(step); });
  auto device = Device::open(address_);
  if (!device.ok()) return device.status();
  device_ = *std::move(device);
  auto pd = device_->alloc_pd();
  if (!pd.ok()) return pd.status();
  pd_ = *std::move(pd);
  absl::Status enough = load::check_mrs(options_.depth, sessions,
                                        uint64_t{options_.depth} * sessions, device_->caps());
  if (!enough.ok()) return enough;
  auto pool = MrPool::create(
      *pd_, {.count = options_.depth * sessions,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) return pool.status();
  pool_ = *std::move(pool);
  auto buffer = load::Buffer::create(*pd_, kBuffer + UnitReader::kBuffer);
  if (!buffer.ok()) return buffer.status();
  buffer_ = *std::move(buffer);
  return absl::OkStatus();
}

void Client::wait(const std::function<void(const std::function<void()>& done)>& what) {
  bool over = false;
  what([this, &over] {
    over = true;
    reactor_->stop();
  });
  interrupt_->run_until(over);
}

void Client::tell(load::Interrupt::Step step) {
  if (on_interrupt_) on_interrupt_(step);
  if (end_pause_) end_pause_();
  if (on_interrupt_ && step != load::Interrupt::Step::kGiveUp) return;
  for (const auto& session : sessions_) session->abort("interrupted");
}

absl::StatusOr<Session*> Client::log_in() {
  SessionOptions options{.address = address_,
                         .depth = options_.depth,
                         .timeout = options_.connect_timeout,
                         .command_timeout = options_.timeout};
  options.remote_invalidation =
      !options_.no_remote_invalidation && peer_may_invalidate(device_->caps());
  options.login.initiator = options_.initiator;
  options.login.target = options_.target;
  options.login.isid = {0x80, 0, 0, 0, 0, uint8_t(sessions_.size())};
  iscsi::system_random(std::span(options.login.isid).subspan(1, 4));
  options.login.limits = {.immediate_data = !options_.no_immediate_data};
  if (absl::Status status = read_accounts(options_, options.login); !status.ok()) return status;
  sessions_.push_back(
      std::make_unique<Session>(*reactor_, *device_, *pd_, *pool_, std::move(options)));
  Session& session = *sessions_.back();
  absl::Status result;
  wait([&](const std::function<void()>& done) {
    session.start([&result, done](absl::Status status) {
      result = std::move(status);
      done();
    });
  });
  if (!result.ok()) return explain(result);
  return &session;
}

// Adds the requested name and the remedy to a refusal of the target.
absl::Status Client::explain(const absl::Status& refused) const {
  const std::string who = options_.target.empty() ? "discovery" : options_.target;
  std::string mend;
  switch (refused.code()) {
    case absl::StatusCode::kUnauthenticated:
      mend = "; --chap and --mutual-chap must match the target";
      break;
    case absl::StatusCode::kPermissionDenied:
      mend = absl::StrCat("; its list of initiators has no ", options_.initiator);
      break;
    case absl::StatusCode::kNotFound:
      mend = absl::StrCat("; `mrpool-iser ls ", options_.address, "` shows the targets");
      break;
    default:
      return refused;
  }
  return absl::Status(refused.code(), absl::StrCat(who, ": ", refused.message(), mend));
}

void Client::log_out() {
  for (const auto& session : sessions_) {
    if (!session->connected()) continue;
    wait([&](const std::function<void()>& done) { session->close(done); });
  }
}

absl::Status Client::run(const scsi::Cdb& cdb, DataDirection direction, std::span<std::byte> data,
                         uint32_t* transferred) {
  Moved moved;
  absl::Status status = execute(cdb, direction, data, moved);
  if (transferred != nullptr) *transferred = moved.bytes;
  return status;
}

absl::Status Client::execute(const scsi::Cdb& cdb, DataDirection direction,
                             std::span<std::byte> data, Moved& moved) {
  struct Waiting : Command {
    Waiting() : Command(to_method<&Waiting::finish>) {}
    void finish() { finished(); }
    std::function<void()> finished;
  };
  if (data.size() > kBuffer) return absl::InvalidArgumentError("more than 1 MiB at once");
  Session& session = this->session();
  Attempts attempts;
  for (;;) {
    if (load::Interrupt::heard()) return load::Interrupt::status();
    Waiting command;
    command.lun = lun();
    command.cdb = cdb;
    command.direction = direction;
    command.data = buffer_->sge(0, uint32_t(data.size()));
    if (direction == DataDirection::kOut) std::ranges::copy(data, buffer_->bytes().begin());
    wait([&](const std::function<void()>& done) {
      command.finished = done;
      session.submit(command);
    });
    switch (attempts.judge(command)) {
      case Attempts::Next::kDone:
        if (direction == DataDirection::kIn) {
          std::ranges::copy(buffer_->bytes().first(command.transferred), data.begin());
        }
        moved = {command.transferred, command.overflow};
        return absl::OkStatus();
      case Attempts::Next::kFailed:
        if (command.sense && command.sense->same_code(scsi::kLunNotSupported)) return no_such_lun();
        // The target may not have reported yet that another host has shrunk the unit.
        if (command.sense && command.sense->same_code(scsi::kLbaOutOfRange)) {
          if (absl::Status same = check_pinned(); absl::IsAborted(same)) return same;
        }
        return failure(command, session);
      case Attempts::Next::kAttention:
        if (absl::Status status = check_pinned(); !status.ok()) return status;
        break;
      case Attempts::Next::kLater:
        pause(attempts.delay());
        break;
    }
  }
}

void Client::pause(Nanoseconds delay) {
  struct Wait : Timer {
    Wait() : Timer(to_method<&Wait::over>) {}
    void over() { finished(); }
    std::function<void()> finished;
  } timer;
  wait([&](const std::function<void()>& done) {
    timer.finished = end_pause_ = done;
    timer.arm(*reactor_, delay);
  });
  end_pause_ = nullptr;
}

absl::Status Client::transfer(bool write, const Capacity& capacity, uint64_t offset,
                              std::span<std::byte> data) {
  Moved moved;
  const scsi::Cdb cdb = transfer_cdb(write, offset / capacity.block_size,
                                     uint32_t(data.size() / capacity.block_size));
  absl::Status status = execute(cdb, write ? DataDirection::kOut : DataDirection::kIn, data, moved);
  if (status.ok()) status = check_moved(data.size(), moved.bytes, moved.overflow);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(write ? "write" : "read", " of ", data.size(),
                                                  " bytes at ", offset, ": ", status.message()));
}

absl::StatusOr<Unit> Client::read_unit() {
  UnitReader reader(session(), *reactor_, lun(), buffer_->sge(kBuffer, UnitReader::kBuffer));
  absl::StatusOr<Unit> unit = absl::UnknownError("no answer");
  wait([&](const std::function<void()>& done) {
    reader.read([&unit, done](absl::StatusOr<Unit> result) {
      unit = std::move(result);
      done();
    });
  });
  return absl::IsNotFound(unit.status()) ? no_such_lun() : std::move(unit);
}

uint64_t Client::lun() const { return scsi::encode_lun(uint16_t(lun_)); }

absl::StatusOr<Unit> Client::pin_unit() {
  auto unit = read_unit();
  if (unit.ok()) pinned_ = *unit;
  return unit;
}

absl::Status Client::check_pinned() {
  if (!pinned_) return absl::OkStatus();
  return check_again(*pinned_, read_unit());
}

absl::Status Client::no_such_lun() const {
  return absl::NotFoundError(absl::StrCat("the target has no LUN ", lun_, "; `mrpool-iser ls ",
                                          options_.address, " --show-luns` lists them"));
}

}  // namespace mrpool::iser
