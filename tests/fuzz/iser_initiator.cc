// An initiator's session against any target: what mrpool-iser does from logging in to leaving.
//
// For every behavior of the target: each command, text and ping ends once. An accepted unit has a
// valid size. No more bytes than the data count as transferred. Once the target is silent, the
// session ends within a bounded time and returns all MRs.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "examples/base/big_endian.h"
#include "examples/iser/initiator/access.h"
#include "examples/iser/initiator/attempts.h"
#include "examples/iser/initiator/session.h"
#include "examples/iser/initiator/unit.h"
#include "examples/load/buffer.h"
#include "examples/protocol/iscsi/discovery.h"
#include "tests/fuzz/hostile_target.h"

namespace mrpool::iser {
namespace {

using testing::ScriptedQp;

constexpr size_t kHeader = iscsi::kIserHeaderSize + iscsi::kBhsSize;

class Target final : public fuzz::HostileTarget {
 public:
  using HostileTarget::HostileTarget;

 private:
  void answer(ScriptedQp& qp, int how) override {
    const auto* message = next_message(qp);
    if (message == nullptr || message->size() < kHeader) return;
    const std::span<const std::byte> bytes(*message);
    const auto iser = iscsi::IserControl::decode(bytes.first<iscsi::kIserHeaderSize>());
    const auto bhs = bytes.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
    std::vector<std::byte> reply(kHeader);
    iscsi::IserControl{}.encode(std::span(reply).first<iscsi::kIserHeaderSize>());
    const auto out = std::span(reply).subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
    std::string text;
    std::optional<Rkey> ended;
    switch (iscsi::decode_common(bhs).op) {
      case iscsi::Op::kLoginRequest:
        text = log_in(iscsi::LoginRequest::decode(bhs), out);
        break;
      case iscsi::Op::kScsiCommand:
        text = carry_out(iscsi::ScsiCommand::decode(bhs), iser, how, out);
        if (iser.read_valid) ended = Rkey{iser.read_stag};
        if (iser.write_valid) ended = Rkey{iser.write_stag};
        break;
      case iscsi::Op::kTextRequest:
        text = std::string("TargetName=iqn.x:y\0TargetAddress=127.0.0.1:3260,1\0", 50);
        iscsi::TextResponse{.final = how != 5,
                            .data_length = uint32_t(text.size()),
                            .task_tag = iscsi::TextRequest::decode(bhs).task_tag,
                            .transfer_tag = 1,
                            .window = window()}
            .encode(out);
        break;
      case iscsi::Op::kNopOut:
        iscsi::NopIn{.task_tag = iscsi::NopOut::decode(bhs).task_tag, .window = window()}.encode(
            out);
        break;
      case iscsi::Op::kTaskRequest:
        iscsi::TaskResponse{.task_tag = iscsi::TaskRequest::decode(bhs).task_tag,
                            .window = window()}
            .encode(out);
        break;
      case iscsi::Op::kLogoutRequest:
        iscsi::LogoutResponse{.task_tag = 0, .window = window()}.encode(out);
        break;
      default:
        return;
    }
    const auto data = std::as_bytes(std::span(text));
    reply.insert(reply.end(), data.begin(), data.end());
    spoil(reply, ended, how);
    qp.deliver(reply, ended);
  }

  void spoil(std::vector<std::byte>& reply, std::optional<Rkey>& ended, int how) {
    if (how == 6) {
      const size_t at = input_.take<uint16_t>() % reply.size();
      input_.fill(std::span(reply).subspan(at, std::min<size_t>(16, reply.size() - at)));
    } else if (how == 7) {
      const auto what = input_.take<uint8_t>();
      if (what < 96) reply.resize(what);
      if (what >= 96 && what < 160) ended.reset();
      if (what >= 160) ended = Rkey{what};
    }
  }

  void send_anything(ScriptedQp& qp) override {
    std::vector<std::byte> message(kHeader + input_.take<uint8_t>());
    // Mostly an opcode of a target.
    input_.fill(message);
    constexpr uint8_t kOps[] = {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f};
    message[iscsi::kIserHeaderSize] = std::byte(kOps[input_.take<uint8_t>() % std::size(kOps)]);
    qp.deliver(message);
  }

  iscsi::Window window() {
    return {.stat_sn = ++stat_sn_, .exp_cmd_sn = 1, .max_cmd_sn = input_.take<uint8_t>()};
  }

  std::string log_in(const iscsi::LoginRequest& request, iscsi::BhsOut out) {
    iscsi::TextWriter words;
    words.add("RDMAExtensions", "Yes");
    words.add("InitialR2T", input_.take<uint8_t>() < 200 ? "Yes" : "No");
    words.add("FirstBurstLength", uint64_t{512} + input_.take<uint16_t>());
    words.add("TargetRecvDataSegmentLength", uint64_t{512} + input_.take<uint16_t>() % 7680);
    const std::string text = words.take();
    iscsi::LoginResponse{.transit = request.transit,
                         .current_stage = request.current_stage,
                         .next_stage = request.next_stage,
                         .data_length = uint32_t(text.size()),
                         .tsih = 7,
                         .window = {.stat_sn = ++stat_sn_, .exp_cmd_sn = 1, .max_cmd_sn = 64}}
        .encode(out);
    return text;
  }

  std::string carry_out(const iscsi::ScsiCommand& command, const iscsi::IserControl& iser, int how,
                        iscsi::BhsOut out) {
    std::vector<std::byte> data(512);
    if (command.cdb[0] == 0x9e) {
      be::store64(&data[0], 2047);
      be::store32(&data[8], 512);
    } else if (command.cdb[0] == 0x12) {
      be::store16(&data[2], 20);
    }
    if (how == 5) input_.fill(std::span(data).first(16));
    if (iser.read_valid) {
      place({RemoteAddr{iser.read_va}, command.expected_length, Rkey{iser.read_stag}}, data);
    }
    iscsi::ScsiResponse response{.task_tag = command.task_tag, .window = window()};
    std::string sense;
    if (how == 4) {
      response.status = input_.take<uint8_t>();
      response.residual = iscsi::Residual(input_.take<uint8_t>() % 3);
      response.residual_count = input_.take<uint32_t>();
      sense = {0,
               18,
               0x70,
               0,
               char(input_.take<uint8_t>()),
               0,
               0,
               0,
               0,
               10,
               0,
               0,
               0,
               0,
               char(input_.take<uint8_t>()),
               char(input_.take<uint8_t>()),
               0,
               0,
               0,
               0};
      response.data_length = uint32_t(sense.size());
    }
    response.encode(out);
    return sense;
  }

  uint32_t stat_sn_ = 0;
};

struct Load final : Command {
  explicit Load(int& left) : Command(to_method<&Load::ended>), under_way(left) {}
  void ended() {
    FUZZ_CHECK(busy && (lost || transferred <= data.length));
    busy = false;
    --under_way;
    FUZZ_CHECK(attempts.judge(*this) != Attempts::Next::kDone || good());
    FUZZ_CHECK(!describe(*this).empty());
  }
  int& under_way;
  bool busy = false;
  Attempts attempts;
};

class World : private fuzz::InitiatorGround {
 public:
  explicit World(fuzz::Input& input) : target_(device_, reactor_, input) {
    const auto choice = input.take<uint8_t>();
    SessionOptions options{.address = *Address::parse("uiwarp://127.0.0.1:3260"), .depth = 4};
    options.remote_invalidation = (choice & 1) != 0;
    options.send_first_burst = (choice & 2) != 0;
    options.timeout = options.command_timeout = std::chrono::seconds(1);
    options.login.initiator = "iqn.2026-11.org.example:host";
    options.login.target = (choice & 4) != 0 ? "" : "iqn.2026-11.org.example:disk";
    options.login.limits.initial_r2t = (choice & 8) != 0;
    if ((choice & 16) != 0) options.login.chap = {"user", "the secret of the initiator"};
    options.login.random = [](std::span<uint8_t> out) { std::ranges::fill(out, uint8_t{0x5a}); };
    equip(1u + (choice >> 5), 8 * kData + UnitReader::kBuffer);
    session_ = std::make_unique<Session>(reactor_, device_, pd_, *pool_, std::move(options));
    reader_ = std::make_unique<UnitReader>(*session_, reactor_, 0,
                                           data_->sge(8 * kData, UnitReader::kBuffer));
    for (auto& load : loads_) load = std::make_unique<Load>(under_way_);
  }

  void run(fuzz::Input& input) {
    ++under_way_;
    session_->start([this](const absl::Status& status) {
      --under_way_;
      if (status.ok()) work();
    });
    for (int i = 0; !input.empty() && !session_->ended(); ++i) {
      target_.act();
      if (i % 16 == 15 && session_->connected()) work();
    }
    session_->close([this] { gone_ = true; });
    FUZZ_CHECK(
        target_.fall_silent([this] { return gone_ && under_way_ == 0; }, std::chrono::minutes(5)));
    FUZZ_CHECK(session_->ended() && !session_->error().ok());
    session_.reset();
    check_all_returned();
  }

 private:
  static constexpr uint32_t kData = 24 << 10;

  void work() {
    for (size_t i = 0; i < loads_.size(); ++i) submit(*loads_[i], i);
    if (!reading_) {
      reading_ = true;
      ++under_way_;
      reader_->read([this](const absl::StatusOr<Unit>& unit) {
        --under_way_;
        reading_ = false;
        if (!unit.ok()) return;
        const Capacity& capacity = unit->capacity;
        FUZZ_CHECK(capacity.blocks > 0 && capacity.block_size >= kSmallestUnitBlock);
        FUZZ_CHECK(capacity.blocks <= uint64_t{INT64_MAX} / capacity.block_size);
      });
    }
    if (talking_) return;
    talking_ = true;
    ++under_way_;
    using std::string_literals::operator""s;
    session_->text("SendTargets=All\0"s, [this](const absl::StatusOr<std::string>& text) {
      --under_way_;
      talking_ = false;
      if (text.ok()) (void)iscsi::parse_targets(*text);
    });
  }

  void submit(Load& load, size_t number) {
    if (load.busy) return;
    const bool writes = number % 2 != 0;
    load.direction = writes ? DataDirection::kOut : DataDirection::kIn;
    load.cdb = {uint8_t(writes ? 0x8a : 0x88)};
    load.data = data_->sge(number % 8 * kData, number < 2 ? 512 : kData);
    load.attempts = {};
    load.busy = true;
    ++under_way_;
    session_->submit(load);
  }

  Target target_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<UnitReader> reader_;
  int under_way_ = 0;
  std::array<std::unique_ptr<Load>, 6> loads_;
  bool reading_ = false;
  bool talking_ = false;
  bool gone_ = false;
};

}  // namespace
}  // namespace mrpool::iser

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // What is in a list of port groups or designators, whatever the list.
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto group = mrpool::iser::port_group(bytes)) {
    const auto state = mrpool::iser::group_state(bytes, *group);
    if (state) FUZZ_CHECK(state->group == *group);
  }
  mrpool::fuzz::Input input(data, size);
  mrpool::iser::World world(input);
  world.run(input);
  return 0;
}
