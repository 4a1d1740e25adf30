// iSCSI PDUs against a live target: one connection that logs in or not and then sends any PDUs,
// over a Link in memory. The input decides when transfers finish. Another initiator uses another
// target.
//
// For every input: each command is answered at most once. RDMA uses only the key and range of its
// command. StatSN, ExpCmdSN and MaxCmdSN follow RFC 7143 §4.2.2. Every kept receive is returned
// once, and the window is open again when all is answered. The end of the connection releases its
// tasks, chunks and receives. The data of the other initiator does not change.
#include <algorithm>
#include <array>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/iscsi_link.h"
#include "tests/sim/reactor.h"

namespace mrpool::iser_target {
namespace {

constexpr char kOpen[] = "iqn.2026-11.org.example:open";
constexpr char kSecured[] = "iqn.2026-11.org.example:chap";
constexpr char kPrivate[] = "iqn.2026-11.org.example:private";
constexpr char kAttacker[] = "iqn.2026-11.org.example:attacker";
constexpr char kHonest[] = "iqn.2026-11.org.example:honest";

// What is served: the open target may lose its second unit, or go altogether.
Config configuration(uint8_t which) {
  Config config;
  config.listen = {"uiwarp://127.0.0.1:3260"};
  config.open_discovery = true;
  if ((which & 2) == 0) {
    config.targets.push_back({.name = kOpen, .luns = {"ram:64KiB"}});
    if ((which & 1) == 0) config.targets.back().luns.push_back("ram:64KiB,bs=4096");
  }
  config.targets.push_back(
      {.name = kSecured,
       .luns = {"ram:64KiB"},
       .authentication = {.incoming = iscsi::Credentials{"user", "a secret nobody knows"}}});
  config.targets.push_back(
      {.name = kPrivate, .luns = {"ram:64KiB"}, .initiators = {{{.name = kHonest}}}});
  return config;
}

class HonestInitiator {
 public:
  explicit HonestInitiator(Site& site) : initiator_(site, {}) {
    FUZZ_CHECK(initiator_.log_in(kHonest, kPrivate, {}));
    FUZZ_CHECK(initiator_.execute({}, 0, false) == 2);  // the power-on attention
    initiator_.link.fill = std::byte{0xa5};
    FUZZ_CHECK(initiator_.execute({0x2a, 0, 0, 0, 0, 3, 0, 0, 2}, 1024, true) == 0);
  }
  void check() {
    FUZZ_CHECK(initiator_.execute({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 1024, false) == 0);
    FUZZ_CHECK(initiator_.link.pushed.size() == 1024);
    FUZZ_CHECK(std::ranges::all_of(initiator_.link.pushed,
                                   [](std::byte b) { return b == std::byte{0xa5}; }));
  }

 private:
  Initiator initiator_;
};

class Attacker {
 public:
  Attacker(Site& site, fuzz::Input& input)
      : site_(site),
        input_(input),
        mode_(input.take<uint8_t>()),
        limits_{.initial_r2t = (mode_ & 4) == 0,
                .first_burst = (mode_ & 4) == 0 ? 65536 : kFirstBurstUnsolicited,
                .unsolicited_pdus = kMaxPieces},
        initiator_(site, limits_) {
    link().invalidates = (mode_ & 16) == 0;
    if ((mode_ & 1) == 0) {
      FUZZ_CHECK(initiator_.log_in(kAttacker, (mode_ & 2) != 0 ? nullptr : kOpen, limits_));
    }
  }

  void run() {
    for (int i = 0; i < 64 && !input_.empty() && !link().gone; ++i) {
      step();
      // Nobody knows its secret.
      FUZZ_CHECK(site_.find(kSecured)->sessions(0).open.empty());
      if ((mode_ & 8) == 0) {
        while (link().progress(connection(), 0)) {
        }
      }
    }
    while (link().progress(connection(), 0)) {
    }
    if (!connection().full_feature() || link().ending) return;
    // The remaining commands wait for data that the initiator announced.
    FUZZ_CHECK(connection().active() == link().under_way());
    if (!connection().idle()) return;
    // With nothing under way the whole window is open again.
    send(iscsi::NopOut{.immediate = true, .task_tag = next_tag(), .cmd_sn = initiator_.cmd_sn});
    FUZZ_CHECK(link().ending || link().window() == kQueueDepth);
  }

 private:
  Connection& connection() { return *initiator_.connection; }
  MemoryLink& link() { return initiator_.link; }

  void step() {
    const uint8_t choice = input_.take<uint8_t>();
    switch (choice & 15) {
      case 0:
      case 1:
      case 2:
      case 3:
        return command(choice >> 4);
      case 4:
        return data_out(choice >> 4);
      case 5:
        return login();
      case 6:
        return text(choice >> 4);
      case 7:
        return manage(choice >> 4);
      case 8:
        return nop(choice >> 4);
      case 9: {
        iscsi::LogoutRequest pdu{.immediate = (choice & 16) != 0,
                                 .reason = uint8_t(input_.take<uint8_t>() & 3),
                                 .task_tag = next_tag(),
                                 .cmd_sn = cmd_sn((choice & 16) != 0)};
        return send(pdu);
      }
      case 10: {  // any PDU
        std::vector<std::byte> message(kHeaders);
        const auto raw = input_.take_bytes(kHeaders);
        std::ranges::copy(raw, message.begin());
        const auto data = input_.take_bytes(input_.take<uint8_t>());
        message.insert(message.end(), data.begin(), data.end());
        if ((choice & 16) != 0) message[0] = std::byte{0x10};  // a control message
        return link().receive(connection(), std::move(message));
      }
      case 11: {  // a message of any length
        const auto raw = input_.take_bytes(input_.take<uint8_t>() % (kHeaders + 8));
        return link().receive(connection(), {raw.begin(), raw.end()});
      }
      case 12: {
        iscsi::IserHello hello{.max_version = input_.take<uint8_t>(),
                               .min_version = input_.take<uint8_t>(),
                               .ird = input_.take<uint16_t>()};
        std::vector<std::byte> message(iscsi::kIserHeaderSize);
        hello.encode(std::span(message).first<iscsi::kIserHeaderSize>());
        return link().receive(connection(), std::move(message));
      }
      case 13:
        link().clock += std::chrono::milliseconds(100 * input_.take<uint8_t>());
        return connection().tick();
      case 14:  // the daemon is told to serve something else
        FUZZ_CHECK(site_.apply(configuration(choice >> 4)).ok());
        return;
      default:
        link().progress(connection(), input_.take<uint8_t>(), (choice & 32) == 0);
        return;
    }
  }

  template <typename Pdu>
  void send(const Pdu& pdu, std::span<const std::byte> data = {}, const IserControl& iser = {}) {
    link().receive(connection(), message_of(pdu, data, iser));
  }
  uint32_t next_tag() { return ++initiator_.tag & 0xff; }
  // The number the target expects, most of the time.
  uint32_t cmd_sn(bool immediate) {
    const uint8_t skip = (mode_ & 32) == 0 ? 0 : input_.take<uint8_t>();
    if (immediate) return initiator_.cmd_sn + skip;
    return initiator_.cmd_sn++ + skip;
  }

  void command(uint8_t form) {
    iscsi::ScsiCommand pdu;
    const uint8_t template_number = input_.take<uint8_t>();
    pdu.cdb = cdb(template_number);
    const uint8_t flags = input_.take<uint8_t>();
    pdu.read = (flags & 1) != 0;
    pdu.write = (flags & 2) != 0;
    pdu.final = (flags & 4) == 0;
    pdu.immediate = (flags & 8) != 0;
    pdu.task_tag = (flags & 16) != 0 ? input_.take<uint8_t>() : next_tag();
    pdu.lun = (flags & 32) != 0 ? uint64_t{input_.take<uint8_t>()} << 48 : 0;
    pdu.expected_length =
        (flags & 64) != 0 ? input_.take<uint32_t>() : input_.take<uint8_t>() * uint32_t{512};
    pdu.cmd_sn = cmd_sn(pdu.immediate);
    std::vector<std::byte> data;
    if ((form & 1) != 0) data.assign(input_.take<uint8_t>() * size_t{32}, std::byte{0x3c});
    if ((form & 2) != 0) {
      const auto raw = input_.take_bytes(input_.take<uint8_t>());
      data.insert(data.end(), raw.begin(), raw.end());
    }
    pdu.data_length = uint32_t(data.size());
    if ((form & 4) != 0) pdu.data_length += input_.take<uint8_t>();  // more than there is
    if ((form & 8) != 0) {
      pdu.ahs_words = input_.take<uint8_t>();
      data.insert(data.begin(), std::min<size_t>(size_t{pdu.ahs_words} * 4, 64), std::byte{});
    }
    const uint8_t keys = ~flags >> 7;  // none when the highest bit is set
    const IserControl iser{.write_valid = keys != 0 && pdu.write,
                           .read_valid = keys != 0 && pdu.read,
                           .write_stag = 0x88,
                           .write_va = template_number == 0xff ? ~uint64_t{0} : 0x2000,
                           .read_stag = 0x77,
                           .read_va = 0x1000};
    send(pdu, data, iser);
  }

  scsi::Cdb cdb(uint8_t number) {
    constexpr uint8_t kOpcodes[] = {0x28, 0x2a, 0x00, 0x12, 0xa0, 0x25, 0x9e, 0x1a, 0x15, 0x03,
                                    0x2e, 0x2f, 0x35, 0x41, 0x42, 0x89, 0x5e, 0x5f, 0xa3, 0x1b};
    scsi::Cdb cdb{};
    if (number >= 0xe0) {
      input_.fill(std::as_writable_bytes(std::span(cdb)));
      return cdb;
    }
    cdb[0] = kOpcodes[number % std::size(kOpcodes)];
    cdb[1] = number >= 0x80 ? input_.take<uint8_t>() : 0;
    cdb[5] = input_.take<uint8_t>() % 160;
    cdb[7] = number >= 0x40 ? uint8_t(input_.take<uint8_t>() % 16) : 0;
    cdb[8] = input_.take<uint8_t>();
    if (cdb[0] == 0x89) {  // COMPARE AND WRITE has its numbers elsewhere
      cdb[13] = cdb[8];
      cdb[9] = cdb[5];
      cdb[5] = 0;
    }
    return cdb;
  }

  void data_out(uint8_t form) {
    iscsi::DataOut pdu{
        .final = (form & 1) == 0,
        .task_tag = (form & 2) != 0 ? input_.take<uint8_t>() : initiator_.tag & 0xff};
    if ((form & 4) != 0) pdu.transfer_tag = input_.take<uint32_t>();
    pdu.data_sn = input_.take<uint8_t>();
    pdu.buffer_offset = input_.take<uint8_t>() * uint32_t{512};
    const std::vector<std::byte> data(input_.take<uint8_t>() * size_t{32}, std::byte{0x4d});
    pdu.data_length = uint32_t(data.size());
    send(pdu, data);
  }

  void login() {
    iscsi::LoginRequest pdu;
    const uint8_t flags = input_.take<uint8_t>();
    pdu.transit = (flags & 1) != 0;
    pdu.more = (flags & 2) != 0;
    pdu.current_stage = flags >> 2 & 3;
    pdu.next_stage = flags >> 4 & 3;
    pdu.task_tag = flags >> 6;
    pdu.isid = {0x80, 0, 0, 0, 0, uint8_t(flags >> 6)};
    pdu.cmd_sn = input_.take<uint8_t>();
    std::string text;
    const uint8_t names = input_.take<uint8_t>();
    const auto add = [&text](std::string_view pair) {
      text.append(pair);
      text.push_back('\0');
    };
    if ((names & 1) != 0) add(std::string("InitiatorName=") + kAttacker);
    if ((names & 2) != 0) add(std::string("TargetName=") + ((names & 64) != 0 ? kSecured : kOpen));
    if ((names & 4) != 0) add("SessionType=Discovery");
    if ((names & 8) != 0) add("AuthMethod=CHAP,None");
    if ((names & 16) != 0) add("CHAP_A=5,7");
    if ((names & 32) != 0) add("RDMAExtensions=Yes");
    const auto raw = input_.take_bytes(input_.take<uint8_t>());
    text.append(reinterpret_cast<const char*>(raw.data()), raw.size());
    pdu.data_length = uint32_t(text.size());
    send(pdu, std::as_bytes(std::span(text)));
    initiator_.cmd_sn = pdu.cmd_sn;
  }

  void text(uint8_t form) {
    iscsi::TextRequest pdu{.immediate = (form & 1) != 0,
                           .final = (form & 2) == 0,
                           .more = (form & 2) != 0,
                           .task_tag = next_tag(),
                           .cmd_sn = cmd_sn((form & 1) != 0)};
    if ((form & 4) != 0) pdu.transfer_tag = input_.take<uint8_t>();
    std::string words = (form & 8) != 0 ? std::string("SendTargets=All") + '\0' : std::string();
    const auto raw = input_.take_bytes(input_.take<uint8_t>());
    words.append(reinterpret_cast<const char*>(raw.data()), raw.size());
    pdu.data_length = uint32_t(words.size());
    send(pdu, std::as_bytes(std::span(words)));
  }

  void manage(uint8_t form) {
    const uint8_t which = input_.take<uint8_t>();
    iscsi::TaskRequest pdu{
        .immediate = (form & 1) == 0,
        .function = iscsi::TaskFunction(which & 15),
        .lun = (form & 2) != 0 ? uint64_t{which} << 48 : 0,
        .task_tag = next_tag(),
        .referenced_tag = (form & 4) != 0 ? input_.take<uint8_t>() : (initiator_.tag - 1) & 0xff,
        .cmd_sn = cmd_sn((form & 1) == 0)};
    send(pdu);
  }

  void nop(uint8_t form) {
    iscsi::NopOut pdu{.immediate = (form & 1) == 0,
                      .task_tag = (form & 2) != 0 ? iscsi::kReservedTag : next_tag(),
                      .cmd_sn = cmd_sn((form & 1) == 0)};
    const std::vector<std::byte> data(input_.take<uint8_t>() * size_t{32}, std::byte{0x5e});
    pdu.data_length = uint32_t(data.size());
    send(pdu, data);
  }

  Site& site_;
  fuzz::Input& input_;
  const uint8_t mode_;
  const iscsi::Limits limits_;
  Initiator initiator_;
};

void run(fuzz::Input& input) {
  sim::SimReactor reactor;
  const auto site = *Site::create(configuration(0), {&reactor}, {.random = fixed_random});
  HonestInitiator honest(*site);
  Attacker(*site, input).run();
  honest.check();
  for (const auto& target : site->targets()) {
    FUZZ_CHECK(target->sessions(0).open.size() == (target->name() == kPrivate ? 1u : 0u));
  }
}

}  // namespace
}  // namespace mrpool::iser_target

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  mrpool::iser_target::run(input);
  return 0;
}
