#include "examples/iser/initiator/client.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"
#include "examples/base/exit_status.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/text.h"
#include "examples/protocol/scsi/target_device.h"

namespace mrpool::iser {
namespace {

constexpr size_t kBuffer = 1 << 20;
constexpr uint32_t kMaxLun = 0x3fff;  // of single level LUN structures

// What options name has to be a name.
absl::Status check_name(const char* option, const std::string& name) {
  if (name.empty() || iscsi::valid_iscsi_name(iscsi::normal_iscsi_name(name))) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      option, " '", name, "' is no iSCSI name; write it as iqn.2026-11.org.example:name"));
}

// A secret is not shown, not even a wrong one.
absl::Status parse_chap(const char* option, const std::string& text, iscsi::Credentials& to) {
  const absl::Status status = iscsi::parse_credentials(text, to);
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(option, ": ", status.message()));
}

}  // namespace

int fail(const absl::Status& status) { return base::fail("mrpool-iser", status); }

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
  command.secret("chap", "USER:SECRET", "proven to the target", secret(options.chap));
  command.secret("mutual-chap", "USER:SECRET", "demanded of the target",
                 secret(options.mutual_chap));
  command.flag("no-immediate-data", "send no data with commands", options.no_immediate_data);
  command.flag("no-remote-invalidation", "end every key on this side",
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
  sessions_.clear();
  buffer_.reset();
  pool_.reset();
  pd_.reset();
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
  if (absl::Status status = check_name("--target", options_.target); !status.ok()) return status;
  if (absl::Status status = check_name("--initiator", options_.initiator); !status.ok()) {
    return status;
  }
  auto reactor =
      Reactor::create({.spin = options_.spin ? Nanoseconds::max() : ReactorOptions{}.spin});
  if (!reactor.ok()) return reactor.status();
  reactor_ = *std::move(reactor);
  auto device = Device::open(address_);
  if (!device.ok()) return device.status();
  device_ = *std::move(device);
  auto pd = device_->alloc_pd();
  if (!pd.ok()) return pd.status();
  pd_ = *std::move(pd);
  auto pool = MrPool::create(
      *pd_, {.count = options_.depth * sessions,
             .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  if (!pool.ok()) return pool.status();
  pool_ = *std::move(pool);
  auto buffer = load::Buffer::create(*pd_, kBuffer);
  if (!buffer.ok()) return buffer.status();
  buffer_ = *std::move(buffer);
  return absl::OkStatus();
}

void Client::wait(const std::function<void(const std::function<void()>& done)>& what) {
  what([this] { reactor_->stop(); });  // a stop() before run() is not lost
  reactor_->run();
}

absl::StatusOr<Session*> Client::log_in() {
  SessionOptions options{.address = address_, .depth = options_.depth};
  options.remote_invalidation =
      !options_.no_remote_invalidation && peer_may_invalidate(device_->caps());
  options.login.initiator = options_.initiator;
  options.login.target = options_.target;
  options.login.isid = {0x80, 0, 0, 0, 0, uint8_t(sessions_.size())};
  iscsi::system_random(std::span(options.login.isid).subspan(1, 4));
  options.login.limits = {.immediate_data = !options_.no_immediate_data};
  if (!options_.chap.empty()) {
    absl::Status status = parse_chap("--chap", options_.chap, options.login.chap.emplace());
    if (!status.ok()) return status;
  }
  if (!options_.mutual_chap.empty()) {
    if (options_.chap.empty()) {
      return absl::InvalidArgumentError("--mutual-chap needs --chap");
    }
    absl::Status status =
        parse_chap("--mutual-chap", options_.mutual_chap, options.login.mutual.emplace());
    if (!status.ok()) return status;
    if (options.login.mutual->secret == options.login.chap->secret) {
      // RFC 7143 §9.2.1: who is asked for its own proof could hand it back.
      return absl::InvalidArgumentError("--chap and --mutual-chap: the secrets must differ");
    }
  }
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

// A refusal of the target, with what was asked for and the mend.
absl::Status Client::explain(const absl::Status& refused) const {
  const std::string who = options_.target.empty() ? "discovery" : options_.target;
  std::string mend;
  switch (refused.code()) {
    case absl::StatusCode::kUnauthenticated:
      mend = "; --chap and --mutual-chap have to be what the target has";
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
  constexpr int kAttempts = 8;  // a reset, a mode change, new LUNs: each is told once
  struct Waiting : Command {
    Waiting() : Command(to_method<&Waiting::finish>) {}
    void finish() { finished(); }
    std::function<void()> finished;
  };
  if (data.size() > kBuffer) return absl::InvalidArgumentError("more than 1 MiB at once");
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Session& session = *sessions_.front();
    if (!session.connected()) return absl::UnavailableError("the connection was lost");
    Waiting command;
    command.lun = scsi::encode_lun(uint16_t(lun_));
    command.cdb = cdb;
    command.direction = direction;
    command.data = buffer_->sge(0, uint32_t(data.size()));
    if (direction == DataDirection::kOut) std::ranges::copy(data, buffer_->bytes().begin());
    wait([&](const std::function<void()>& done) {
      command.finished = done;
      session.submit(command);
    });
    if (command.good()) {
      if (direction == DataDirection::kIn) {
        std::ranges::copy(buffer_->bytes().first(command.transferred), data.begin());
      }
      if (transferred != nullptr) *transferred = command.transferred;
      return absl::OkStatus();
    }
    if (command.lost) return absl::UnavailableError("the connection was lost");
    const bool attention = command.sense && command.sense->key == scsi::SenseKey::kUnitAttention;
    if (command.sense && command.sense->same_code(scsi::kLunNotSupported)) return no_such_lun();
    if (!attention) return absl::DataLossError(describe(command));
  }
  return absl::AbortedError("unit attentions without end");
}

absl::Status Client::no_such_lun() const {
  return absl::NotFoundError(absl::StrCat("the target has no LUN ", lun_, "; `mrpool-iser ls ",
                                          options_.address, " --show-luns` lists them"));
}

absl::StatusOr<Capacity> read_capacity(Client& client) {
  scsi::Cdb cdb{0x9e, 0x10};
  std::array<std::byte, 32> data{};
  be::store32(&cdb[10], uint32_t(data.size()));
  if (absl::Status status = client.run(cdb, DataDirection::kIn, data); !status.ok()) {
    return status;
  }
  const Capacity capacity{be::load64(&data[0]) + 1, be::load32(&data[8])};
  if (capacity.block_size == 0) return absl::InternalError("the unit reports no block size");
  return capacity;
}

scsi::Cdb transfer_cdb(bool write, uint64_t lba, uint32_t blocks) {
  scsi::Cdb cdb{};
  cdb[0] = write ? 0x8a : 0x88;
  be::store64(&cdb[2], lba);
  be::store32(&cdb[10], blocks);
  return cdb;
}

}  // namespace mrpool::iser
