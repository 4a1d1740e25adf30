// The login phase, seen from both ends. A target with and without CHAP hears login requests with
// any text, some of them from an initiator that knows the secret; an initiator hears the answers of
// any target.
//
// For every input: a login succeeds only with the required secret, and only at the named target. An
// answer is well-formed text for the negotiated stage. Negotiated values are within the offers of
// both sides. A login ends after a bounded number of requests. An initiator that requires mutual
// CHAP accepts no session without it.
#include <algorithm>

#include "examples/protocol/iscsi/initiator_login.h"
#include "examples/protocol/iscsi/login.h"
#include "examples/protocol/iscsi/text.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::iscsi {
namespace {

constexpr char kInitiator[] = "iqn.2026-11.org.example:host";
constexpr char kTarget[] = "iqn.2026-11.org.example:disk";
const Credentials kIncoming{"user", "the secret of the initiator"};
const Credentials kOutgoing{"target", "the secret of the target"};

void fixed_random(std::span<uint8_t> out) { std::ranges::fill(out, uint8_t{0x5a}); }

struct Host final : LoginHost {
  Found find_target(std::string_view target, std::string_view initiator) override {
    FUZZ_CHECK(valid_iscsi_name(initiator));
    asked = target;
    if (!target.empty() && target != kTarget) return {.status = LoginStatus::kTargetNotFound};
    return found;
  }
  Admitted admit(const Identity& identity) override {
    FUZZ_CHECK(admitted == 0);
    ++admitted;
    FUZZ_CHECK(identity.target == asked && identity.discovery == identity.target.empty());
    return {.tsih = 7};
  }
  bool may_prove() override { return guesses > 0; }
  void proof_failed() override { --guesses; }
  Found found;
  int guesses = 2;
  std::string asked;
  int admitted = 0;
};

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class TargetSide {
 public:
  TargetSide(uint8_t mode, fuzz::Input& input) : mode_(mode), input_(input) {
    if ((mode & 2) != 0) host_.found.authentication.incoming = kIncoming;
    if ((mode & 2) != 0 && (mode & 8) != 0) {
      host_.found.alternatives = {{.incoming = Credentials{"other", "another's own secret"}}};
    }
    if ((mode & 4) != 0) host_.found.authentication.outgoing = kOutgoing;
    host_.found.alias = (mode & 8) != 0 ? "a disk" : "";
    limits_.initial_r2t = (mode & 16) != 0;
    limits_.immediate_data = (mode & 32) != 0;
  }

  void run() {
    for (int i = 0; i < 64 && !input_.empty(); ++i) {
      const LoginRequest request = header();
      const std::string text = make_text();
      if (input_.take<uint8_t>() == 0xff) {
        const Login::Answer answer = login_.on_other_pdu(3);
        FUZZ_CHECK(answer.failed && answer.response.status == LoginStatus::kInvalidDuringLogin);
        ended_ = true;
        continue;
      }
      answered(request, login_.on_request(request, text));
    }
  }

 private:
  LoginRequest header() {
    LoginRequest request;
    const uint8_t flags = input_.take<uint8_t>();
    request.transit = (flags & 1) != 0;
    request.more = (flags & 2) != 0;
    request.current_stage = flags >> 2 & 3;
    request.next_stage = flags >> 4 & 3;
    request.version_min = flags == 0xff ? 1 : 0;
    if ((flags & 64) != 0) {
      request.tsih = input_.take<uint8_t>();
      request.cid = input_.take<uint8_t>();
      request.isid[0] = input_.take<uint8_t>();
    }
    request.cmd_sn = input_.take<uint8_t>();
    request.exp_stat_sn = input_.take<uint8_t>();
    return request;
  }

  std::string make_text() {
    TextWriter words;
    const uint16_t which = input_.take<uint16_t>();
    if ((which & 1) != 0) words.add("InitiatorName", kInitiator);
    if ((which & 2) != 0) words.add("TargetName", kTarget);
    if ((which & 4) != 0) words.add("SessionType", "Discovery");
    if ((which & 8) != 0) words.add("AuthMethod", "CHAP,None");
    if ((which & 16) != 0) words.add("CHAP_A", "8,7,6,5");
    if ((which & 32) != 0 && (mode_ & 64) != 0) {  // who knows the secret may use it
      words.add("CHAP_N", kIncoming.user);
      const Challenge challenge = Challenge::make(ChapAlgorithm::kSha3_256, fixed_random);
      words.add("CHAP_R", format_hex(chap_response(ChapAlgorithm::kSha3_256, challenge.identifier,
                                                   kIncoming.secret, challenge.bytes)));
    } else if ((which & 32) != 0) {
      words.add("CHAP_N", kIncoming.user);
      words.add("CHAP_R", "0x0123456789abcdef");
    }
    if ((which & 64) != 0) words.add("RDMAExtensions", "Yes");
    if ((which & 128) != 0) words.add("InitialR2T", "No");
    if ((which & 256) != 0) words.add("MaxBurstLength", uint64_t{input_.take<uint32_t>()});
    if ((which & 512) != 0) words.add("FirstBurstLength", uint64_t{input_.take<uint32_t>()});
    if ((which & 1024) != 0) {
      words.add("CHAP_I", uint64_t{input_.take<uint8_t>()});
      words.add("CHAP_C", "0b" + std::string(input_.take<uint8_t>(), 'A'));
    }
    std::string text = words.take();
    text += text_of(input_.take_bytes(input_.take<uint8_t>()));
    return text;
  }

  void answered(const LoginRequest& request, const Login::Answer& answer) {
    FUZZ_CHECK(++answers_ <= 33 || answer.failed);
    FUZZ_CHECK(!ended_ || answer.failed);
    FUZZ_CHECK(!(answer.failed && answer.finished));
    FUZZ_CHECK(answer.failed == (answer.response.status != LoginStatus::kSuccess));
    FUZZ_CHECK(answer.response.data_length == answer.text.size());
    FUZZ_CHECK(parse_text(answer.text).has_value());
    FUZZ_CHECK(answer.response.task_tag == request.task_tag);
    if (answer.failed) {
      ended_ = true;
      FUZZ_CHECK(!login_.reason().empty() && answer.text.empty());
      return;
    }
    FUZZ_CHECK(answer.response.current_stage == request.current_stage);
    FUZZ_CHECK(!answer.response.transit ||
               (request.transit && answer.response.next_stage == request.next_stage));
    FUZZ_CHECK((host_.admitted == 1) == answer.finished);
    if (!answer.finished) return;
    ended_ = true;
    // Without the secret nobody comes so far.
    FUZZ_CHECK(!host_.found.authentication.incoming || (mode_ & 64) != 0);
    FUZZ_CHECK(login_.proven() == host_.found.authentication.incoming);
    const Identity& identity = login_.identity();
    FUZZ_CHECK(valid_iscsi_name(identity.initiator));
    FUZZ_CHECK(identity.discovery || identity.target == kTarget);
    FUZZ_CHECK(answer.response.tsih == 7 && answer.response.transit);
    const Parameters& agreed = login_.parameters();
    FUZZ_CHECK(identity.discovery || agreed.rdma_extensions);
    FUZZ_CHECK(agreed.initial_r2t ||
               (!limits_.initial_r2t && agreed.first_burst <= limits_.first_burst));
    FUZZ_CHECK(agreed.first_burst >= 512 && agreed.first_burst <= agreed.max_burst);
    FUZZ_CHECK(agreed.max_burst <= std::max(limits_.max_burst, Parameters{}.max_burst));
    FUZZ_CHECK(agreed.target_recv <= std::max(limits_.target_recv, Parameters{}.target_recv));
    FUZZ_CHECK(agreed.error_recovery_level == 0 && agreed.max_connections == 1);
  }

  const uint8_t mode_;
  fuzz::Input& input_;
  Host host_;
  Limits limits_;
  Login login_{host_, limits_, fixed_random};
  uint32_t answers_ = 0;
  bool ended_ = false;
};

void initiator_side(uint8_t mode, fuzz::Input& input) {
  InitiatorLoginOptions options;
  options.initiator = kInitiator;
  if ((mode & 2) != 0) options.target = kTarget;
  if ((mode & 4) != 0) options.chap = kIncoming;
  const bool wants_proof = (mode & 12) == 12;
  if (wants_proof) options.mutual = kOutgoing;
  options.random = fixed_random;
  InitiatorLogin login(options);
  std::optional<InitiatorLogin::Request> next = login.first();
  for (int i = 0; i < 64 && !input.empty() && next; ++i) {
    FUZZ_CHECK(next->header.data_length == next->text.size());
    FUZZ_CHECK(parse_text(next->text).has_value());
    // Secrets go nowhere.
    FUZZ_CHECK(next->text.find(kIncoming.secret) == std::string::npos);
    LoginResponse response;
    const uint8_t flags = input.take<uint8_t>();
    response.transit = (flags & 1) != 0;
    response.more = (flags & 2) != 0;
    response.current_stage = flags >> 2 & 3;
    response.next_stage = flags >> 4 & 3;
    if ((flags & 64) != 0) response.status = LoginStatus(input.take<uint16_t>());
    response.window.stat_sn = input.take<uint8_t>();
    TextWriter words;
    const uint8_t which = input.take<uint8_t>();
    if ((which & 1) != 0) words.add("AuthMethod", "CHAP");
    if ((which & 2) != 0) words.add("CHAP_A", "7");
    if ((which & 4) != 0) words.add("CHAP_I", uint64_t{which});
    if ((which & 8) != 0) words.add("CHAP_C", "0x" + std::string(2u * which, 'a'));
    if ((which & 16) != 0) words.add("CHAP_N", kOutgoing.user);
    if ((which & 32) != 0) words.add("CHAP_R", "0x" + std::string(64, 'b'));
    if ((which & 64) != 0) words.add("RDMAExtensions", "Yes");
    std::string text = words.take();
    text += text_of(input.take_bytes(input.take<uint8_t>()));
    const absl::Status status = login.on_response(response, text, next);
    FUZZ_CHECK(status.ok() || (!next && !login.finished()));
    FUZZ_CHECK(!next || !login.finished());
  }
  if (!login.finished()) return;
  FUZZ_CHECK(!wants_proof);  // nobody here can give it
  FUZZ_CHECK(options.target.empty() || login.parameters().rdma_extensions);
  FUZZ_CHECK(login.parameters().max_burst >= 512 &&
             login.parameters().max_burst <= std::max(options.limits.max_burst, 262144u));
}

}  // namespace
}  // namespace mrpool::iscsi

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  const uint8_t mode = input.take<uint8_t>();
  if ((mode & 1) == 0) {
    mrpool::iscsi::TargetSide(mode, input).run();
  } else {
    mrpool::iscsi::initiator_side(mode, input);
  }
  return 0;
}
