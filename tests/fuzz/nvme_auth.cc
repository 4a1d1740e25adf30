// DH-HMAC-CHAP, seen from both ends. A controller hears messages with any content in any order,
// some of them of a host with the right key; a host hears the messages of any controller.
//
// Nobody is proven without the key. A queue that has failed stays failed and reports it once.
// Messages have at most their size and are well formed. A host that requires the proof of the
// controller does not succeed without it.
#include <memory>
#include <optional>

#include "examples/protocol/nvme/auth/controller_side.h"
#include "examples/protocol/nvme/auth/host_side.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::nvme::auth {
namespace {

constexpr char kHost[] = "nqn.2026-11.org.example:host";
constexpr char kDisk[] = "nqn.2026-11.org.example:disk";

DhchapKey key_of(uint8_t byte) {
  return {.key = Wiped(std::vector<uint8_t>(32, byte)), .transform = 1};
}

void fixed_random(std::span<uint8_t> out) {
  for (uint8_t& each : out) each = 0x5a;
}

class ControllerUnderTest {
 public:
  ControllerUnderTest(uint8_t mode, fuzz::Input& input)
      : right_((mode & 2) != 0), input_(input), keys_(std::make_shared<HostKeys>()) {
    auto keys = std::make_shared<HostKeys>();
    keys->host = key_of(1);
    if ((mode & 4) != 0) keys->controller = key_of(2);
    if ((mode & 32) != 0) {
      keys->others.push_back({.host = keys->host, .controller = keys->controller});
      keys->host = key_of(3);
      keys->controller = {};
    }
    // The large groups are slow, and nothing else.
    keys->groups = {(mode & 8) != 0 ? Group::kFfdhe2048 : Group::kNull};
    keys_ = keys;
    auto secrets = std::make_shared<HostSecrets>();
    secrets->key = key_of(right_ ? 1 : 9);
    if ((mode & 16) != 0) secrets->controller_key = key_of(2);
    secrets_ = secrets;
  }

  void run() {
    for (int i = 0; i < 32 && !input_.empty(); ++i) step(input_.take<uint8_t>());
  }

 private:
  void step(uint8_t what) {
    const bool over = controller_.over();
    switch (what % 5) {
      case 0:
        transaction_ = input_.take<uint8_t>();
        host_.emplace(secrets_, kHost, kDisk, transaction_, fixed_random);
        send(host_->first());
        break;
      case 1:
        if (host_) send(host_->message());
        break;
      case 2: {
        const auto bytes = input_.take_bytes(input_.take<uint8_t>());
        send({bytes.begin(), bytes.end()});
        break;
      }
      case 3: {  // with the header of a message that may be due
        auto message = success2(transaction_);
        const auto bytes = input_.take_bytes(input_.take<uint8_t>());
        message[1] = std::byte{uint8_t(what / 5 % 6)};
        message.insert(message.end(), bytes.begin(), bytes.end());
        send(message);
        break;
      }
      default:
        receive();
    }
    FUZZ_CHECK(!over || (controller_.over() && !controller_.proven()));
    FUZZ_CHECK(!controller_.proven() || right_);
    FUZZ_CHECK(controller_.over() ? !controller_.reason().empty() : true);
  }

  void send(const std::vector<std::byte>& message) {
    const bool over = controller_.over();
    const auto next = controller_.take(message, keys_);
    FUZZ_CHECK(!over || next == ControllerSide::Next::kRefuse);
    if (next != ControllerSide::Next::kWork) return;
    FUZZ_CHECK(controller_.busy());
    FUZZ_CHECK(controller_.take(message, keys_) == ControllerSide::Next::kRefuse);
    controller_.work();
    controller_.worked();
  }

  void receive() {
    const bool over = controller_.over();
    const auto message = controller_.answer();
    FUZZ_CHECK(!over || message.empty());
    if (message.empty()) return;
    FUZZ_CHECK(message.size() <= kMaxMessageBytes);
    const auto header = parse_header(message);
    FUZZ_CHECK(header);
    FUZZ_CHECK(controller_.over() == (header->id == Id::kFailure1));
    if (!host_ || done_) return;
    // Its own, or another one's: a host takes it until it is done.
    const auto next = host_->take(message);
    done_ = next != HostSide::Next::kSend;
  }

  const bool right_;
  fuzz::Input& input_;
  std::shared_ptr<const HostKeys> keys_;
  std::shared_ptr<const HostSecrets> secrets_;
  ControllerSide controller_{kHost, kDisk, fixed_random};
  std::optional<HostSide> host_;
  uint16_t transaction_ = 0;
  bool done_ = false;
};

void host_under_test(uint8_t mode, fuzz::Input& input) {
  auto secrets = std::make_shared<HostSecrets>();
  secrets->key = key_of(1);
  const bool mutual = (mode & 2) != 0;
  if (mutual) secrets->controller_key = key_of(2);
  HostSide host(secrets, kHost, kDisk, 7, fixed_random);
  FUZZ_CHECK(parse_negotiate(host.first()));
  for (int i = 0; i < 8 && !input.empty(); ++i) {
    std::vector<std::byte> message;
    if ((input.take<uint8_t>() & 1) != 0) {
      std::vector<uint8_t> challenge(32, input.take<uint8_t>());
      message = to_bytes(Challenge{.transaction = 7,
                                   .hash = Hash::kSha256,
                                   .group = Group::kNull,
                                   .sequence = input.take<uint8_t>(),
                                   .challenge = challenge,
                                   .value = {}});
    } else {
      message = success2(7);
      message[1] = std::byte{uint8_t(input.take<uint8_t>() % 6)};
    }
    const auto more = input.take_bytes(input.take<uint8_t>());
    message.insert(message.end(), more.begin(), more.end());
    if (input.take<uint8_t>() == 0) message.assign(more.begin(), more.end());
    switch (host.take(message)) {
      case HostSide::Next::kSend:
        FUZZ_CHECK(parse_reply(host.message()));
        continue;
      case HostSide::Next::kSendLast:
        FUZZ_CHECK(false);  // nobody here can prove it
        return;
      case HostSide::Next::kDone:
        FUZZ_CHECK(!mutual);
        return;
      case HostSide::Next::kSendFailure:
        FUZZ_CHECK(parse_failure(host.message()) && !host.status().ok());
        return;
      case HostSide::Next::kFailed:
        FUZZ_CHECK(!host.status().ok());
        return;
    }
  }
}

}  // namespace
}  // namespace mrpool::nvme::auth

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  const uint8_t mode = input.take<uint8_t>();
  if ((mode & 1) == 0) {
    mrpool::nvme::auth::ControllerUnderTest(mode, input).run();
  } else {
    mrpool::nvme::auth::host_under_test(mode, input);
  }
  return 0;
}
