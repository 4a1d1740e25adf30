// CDBs against a live logical unit on RAM: two initiators send any command with any parameter list,
// one at a time, through device server, execution and storage.
//
// For every input: one answer, with a status and sense data that survive encoding. The transfer of
// a plan is on the medium and within the announced limits. A read returns what was written before.
// Under a reservation, only a registrant that may write changes blocks. Reservations survive saving
// and loading. An EXTENDED COPY does what reading all of a segment and writing it would do, segment
// by segment until the one that its sense data names. What reads blocks that WRITE LONG has marked
// fails at the first of them, until it is written.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "examples/base/big_endian.h"
#include "examples/iser/target/execution.h"
#include "examples/protocol/scsi/target_device.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/reactor.h"

namespace mrpool::scsi {
namespace {

using iser_target::Execution;
using Kind = Plan::Kind;

constexpr uint32_t kBlock = 512;
constexpr uint32_t kBlocks = 64;
constexpr uint32_t kMaxTransferBlocks = 32;
constexpr uint16_t kLuns[] = {0};
using Block = std::array<uint8_t, kBlock>;

struct Finished final : Execution {
  Finished() : Execution([](Execution& self) { ++static_cast<Finished&>(self).calls; }) {}
  int calls = 0;
};

class Run {
 public:
  explicit Run(fuzz::Input& input) : input_(input) {
    const uint8_t mode = input.take<uint8_t>();
    facts_.read_only = (mode & 1) != 0;
    facts_.thin = (mode & 2) == 0;
    facts_.volatile_cache = (mode & 4) != 0;
    facts_.marks = (mode & 16) != 0;
    // Without a place to keep reservations APTPL is not offered.
    SaveReservations save;
    if ((mode & 8) == 0) {
      save = [this](const std::string& state) {
        saved_ = state;
        return absl::OkStatus();
      };
    }
    unit_ = std::make_unique<LogicalUnit>(facts_, std::move(save));
    for (Nexus* nexus : nexuses_) unit_->attach(*nexus);
    blocks_.fill(Block{});
  }
  ~Run() {
    for (Nexus* nexus : nexuses_) unit_->detach(*nexus);
  }

  void run() {
    for (int i = 0; i < 48 && !input_.empty(); ++i) command();
    Reservations& reservations = unit_->reservations();
    const std::string text = reservations.serialize();
    Reservations again(true);
    FUZZ_CHECK(again.restore(text));
    FUZZ_CHECK(again.serialize() == text);
    // Whatever is on disk is understood or refused.
    const auto rest = input_.rest();
    Reservations other(true);
    (void)other.restore({reinterpret_cast<const char*>(rest.data()), rest.size()});
  }

 private:
  void command() {
    const uint8_t choice = input_.take<uint8_t>();
    Nexus& nexus = *nexuses_[choice & 1];
    if ((choice & 0xf0) == 0xf0) return unit_->reset(kDeviceReset);
    const Cdb cdb = make_cdb(choice);
    const bool reserved_by_other = others_reservation(nexus);
    std::vector<uint8_t> data_in;
    std::vector<Range> ranges;
    Plan plan =
        (cdb[0] == 0xa0) ? report_luns(cdb, kLuns, data_in) : unit_->begin(nexus, cdb, data_in);
    if (plan.kind == Kind::kParameters) {
      FUZZ_CHECK(data_in.empty());
      // The initiator may send less data than the CDB specifies.
      const auto list = parameters(cdb, plan.data_out);
      plan = unit_->finish(nexus, cdb, list, ranges);
      if (plan.kind == Kind::kReserve) {
        LogicalUnit::ReserveAnswer answer = unit_->reserve_out(nexus.port(), cdb, list);
        FUZZ_CHECK(std::ranges::find(answer.preempted, nexus.port()) == answer.preempted.end());
        plan = answer.plan;
      }
      if (plan.kind == Kind::kCopy) return copy(nexus, cdb, list);
      FUZZ_CHECK(plan.kind == Kind::kDone || plan.kind == Kind::kUnmap ||
                 plan.kind == Kind::kFlush);
    }
    if (plan.kind == Kind::kDone) {
      check_answer(plan.status, plan.sense, cdb);
      FUZZ_CHECK(plan.status == Status::kGood || data_in.empty());
      FUZZ_CHECK(data_in.size() <= 64 * 1024);
      return;
    }
    FUZZ_CHECK(data_in.empty());
    check_plan(plan, ranges);
    const bool writes =
        plan.kind != Kind::kRead && plan.kind != Kind::kVerify && plan.kind != Kind::kFlush;
    FUZZ_CHECK(!writes || (!facts_.read_only && !unit_->mode().write_protect));
    FUZZ_CHECK(!writes || !reserved_by_other);
    carry_out(plan, ranges, cdb);
  }

  // A reservation that keeps `nexus` from writing.
  bool others_reservation(const Nexus& nexus) const {
    return !unit_->reservations().allows(nexus.port(), Reserved::kConflict);
  }

  Cdb make_cdb(uint8_t choice) {
    Cdb cdb{};
    const uint8_t number = input_.take<uint8_t>();
    if ((choice & 2) != 0) {  // any bytes, behind an operation code that exists
      input_.fill(std::as_writable_bytes(std::span(cdb)));
    }
    copy_list_.clear();
    if (number < 0xf0) {
      const Operation& operation = choose(number);
      cdb[0] = operation.opcode;
      if (operation.service_action >= 0) {
        cdb[1] = uint8_t((cdb[1] & 0xe0) | operation.service_action);
      }
      if ((choice & 4) == 0) aim(operation, cdb);
      if ((choice & 8) == 0) cdb[operation.length - 1] &= 0xfb;  // NACA
    }
    return cdb;
  }
  // Those of copies and marks have numbers of their own, so that the corpus keeps its meaning.
  static const Operation& choose(uint8_t number) {
    constexpr uint8_t kCopies = 0xe0;
    const auto of_copies = [](const Operation& operation) {
      return operation.command >= Command::kExtendedCopy ||
             operation.command == Command::kWriteLong10 ||
             operation.command == Command::kWriteLong16;
    };
    std::vector<const Operation*> rows;
    for (const Operation& operation : operations()) {
      if (of_copies(operation) == (number >= kCopies)) rows.push_back(&operation);
    }
    return *rows[number % rows.size()];
  }
  // LBA, length and parameter list length where they do something.
  void aim(const Operation& operation, Cdb& cdb) {
    const uint8_t lba = input_.take<uint8_t>() % 72, count = input_.take<uint8_t>() % 40;
    switch (operation.command) {
      case Command::kPersistentReserveOut:
        cdb[2] = count & 0x0f;  // type
        be::store32(&cdb[5], 24);
        return;
      case Command::kUnmap:
      case Command::kModeSelect10:
        be::store16(&cdb[7], uint16_t(lba));
        return;
      case Command::kModeSelect6:
        cdb[4] = lba;
        return;
      case Command::kExtendedCopy:
        make_copy_list();
        be::store32(&cdb[10], uint32_t(copy_list_.size()));
        return;
      case Command::kReceiveCopyStatus:
      case Command::kReceiveCopyParameters:
      case Command::kReceiveCopyDetails:
        cdb[2] = lba & 3;
        be::store32(&cdb[10], count % 2 == 0 ? 255 : count);
        return;
      case Command::kCompareAndWrite:
        cdb[9] = lba;
        cdb[13] = count;
        return;
      case Command::kWriteLong10:
      case Command::kWriteLong16:
        cdb[1] = uint8_t((cdb[1] & 0x1f) | 0x40);
        cdb[operation.length == 10 ? 5 : 9] = lba;
        return;
      default:
        break;
    }
    switch (operation.length) {
      case 6:
        cdb[3] = lba;
        cdb[4] = count;
        break;
      case 10:
        cdb[5] = lba;
        cdb[8] = count;
        break;
      case 12:
        cdb[5] = lba;
        cdb[9] = count;
        break;
      default:
        cdb[9] = lba;
        cdb[13] = count;
        break;
    }
  }

  // A list that is right, or nearly so.
  void make_copy_list() {
    const uint8_t shape = input_.take<uint8_t>();
    const uint32_t units = shape & 3, segments = shape >> 2 & 7;
    std::vector<uint8_t>& list = copy_list_;
    list.assign(kCopyHeaderSize + units * kCopyUnitSize + segments * kCopySegmentSize, 0);
    list[0] = input_.take<uint8_t>() & 3;
    list[1] = input_.take<uint8_t>() & 0x18;
    be::store16(&list[2], uint16_t(units * kCopyUnitSize));
    be::store32(&list[8], uint32_t(segments * kCopySegmentSize));
    for (uint32_t i = 0; i < units; ++i) {
      uint8_t* const unit = &list[kCopyHeaderSize + i * kCopyUnitSize];
      unit[0] = 0xe4;
      unit[4] = 1;
      unit[5] = 3;
      unit[7] = 8;
      std::fill_n(unit + 8, 8, uint8_t{0x31});
    }
    for (uint32_t i = 0; i < segments; ++i) {
      uint8_t* const segment =
          &list[kCopyHeaderSize + units * kCopyUnitSize + i * kCopySegmentSize];
      segment[0] = 0x02;
      segment[3] = kCopySegmentSize - 4;
      segment[5] = input_.take<uint8_t>() % 3;
      segment[7] = input_.take<uint8_t>() % 3;
      segment[11] = input_.take<uint8_t>() % 40;
      segment[19] = input_.take<uint8_t>() % 72;
      segment[27] = input_.take<uint8_t>() % 72;
    }
    if ((shape & 0x80) != 0) list[input_.take<uint8_t>() % list.size()] ^= input_.take<uint8_t>();
  }

  void copy(Nexus& nexus, const Cdb& cdb, std::span<const uint8_t> list) {
    CopyRun run;
    Plan plan = unit_->begin_copy(nexus, cdb, list, run);
    if (plan.kind == Kind::kDone) return check_answer(plan.status, plan.sense, cdb);
    FUZZ_CHECK(plan.kind == Kind::kCopy);
    FUZZ_CHECK(run.list().units.size() <= kMaxCopyUnits);
    FUZZ_CHECK(run.list().segments.size() <= kMaxCopySegments);
    std::optional<Sense> wrong;
    size_t segment = 0;
    for (; !run.done() && !wrong; ++segment) wrong = copy_segment(nexus, run);
    if (wrong) {
      FUZZ_CHECK(wrong->key == SenseKey::kCopyAborted && wrong->segment == segment - 1);
      // Only a marked block fails when something of that segment was written already.
      FUZZ_CHECK(!wrong->information || wrong->forwarded.by == Forwarded::By::kSource);
      check_answer(Status::kCheckCondition, *wrong, cdb);
    } else {
      FUZZ_CHECK(segment == run.list().segments.size());
    }
    unit_->end_copy(nexus, run, wrong ? check(*wrong) : good());
  }
  std::optional<Sense> copy_segment(Nexus& nexus, CopyRun& run) {
    for (const CopySide side : {CopySide::kSource, CopySide::kDestination}) {
      const CopyUnit* name = nullptr;
      if (const auto wrong = run.name(side, name)) return wrong;
      if (!is_named(facts_, *name)) return run.unreachable(side);
    }
    const CopyRun::Place place{.block_size = kBlock, .blocks = unit_->blocks()};
    if (const auto wrong = run.open(place, place, true)) return wrong;
    if (!run.is_open()) return std::nullopt;  // no blocks
    run.part(run.segment_bytes());
    const Range from = run.blocks(CopySide::kSource), to = run.blocks(CopySide::kDestination);
    std::array<Block, kBlocks> expected = blocks_;
    std::copy_n(blocks_.begin() + ptrdiff_t(from.lba), from.blocks,
                expected.begin() + ptrdiff_t(to.lba));
    std::vector<uint8_t> buffer(4 * kBlock);
    while (run.is_open()) {
      run.part(buffer.size());
      const iovec vector{buffer.data(), run.part_bytes()};
      for (const CopySide side : {CopySide::kSource, CopySide::kDestination}) {
        const Plan plan = unit_->copy_part(nexus, side, run.blocks(side));
        if (plan.kind == Kind::kDone) return run.refused(side, plan);
        FUZZ_CHECK(side == CopySide::kSource || (!facts_.read_only && !others_reservation(nexus)));
        Finished execution;
        if (!execution.start(store_, plan, {&vector, 1})) {
          for (int i = 0; i < 10'000 && execution.calls == 0; ++i) reactor_.step();
        }
        if (execution.status() != Status::kGood) {
          const Range part = run.blocks(side);
          FUZZ_CHECK(side == CopySide::kSource);
          FUZZ_CHECK(is_marked_error(execution.sense(), part.lba, part.blocks));
          return run.refused(side, check(execution.sense()));
        }
      }
      const Range read = run.blocks(CopySide::kSource),
                  written = run.blocks(CopySide::kDestination);
      FUZZ_CHECK(!first_marked(read.lba, read.blocks));
      unmark(written.lba, written.blocks);
      for (uint64_t i = 0; i < written.blocks; ++i) {
        std::memcpy(blocks_[written.lba + i].data(), &buffer[i * kBlock], kBlock);
      }
      run.moved();
    }
    FUZZ_CHECK(blocks_ == expected);
    FUZZ_CHECK(std::memcmp(volume_->memory().data(), blocks_.data(), sizeof(blocks_)) == 0);
    return std::nullopt;
  }

  std::vector<uint8_t> parameters(const Cdb& cdb, uint64_t wanted) {
    if (cdb[0] == 0x83 && !copy_list_.empty() && wanted == copy_list_.size()) return copy_list_;
    std::vector<uint8_t> list(std::min<uint64_t>(wanted, 8192));
    const size_t given = std::min<size_t>(input_.take<uint8_t>(), list.size());
    const size_t filled = input_.fill(std::as_writable_bytes(std::span(list)).first(given));
    if (cdb[0] == 0x42 && list.size() >= 24 && list[0] == 0) {
      be::store16(&list[0], uint16_t(list.size() - 2));
      be::store16(&list[2], uint16_t(list.size() - 8));
    }
    // Sent short, sometimes.
    if (filled != 0 && (list[filled - 1] & 0x80) != 0) list.resize(filled);
    return list;
  }

  void check_answer(Status status, const Sense& sense, const Cdb& cdb) const {
    FUZZ_CHECK(status == Status::kGood || status == Status::kCheckCondition ||
               status == Status::kReservationConflict);
    if (status != Status::kCheckCondition) {
      FUZZ_CHECK(sense == kNoSense);
      return;
    }
    FUZZ_CHECK(sense.key != SenseKey::kNoSense);
    if (sense.field_in_cdb) FUZZ_CHECK(sense.field.has_value() && *sense.field < cdb.size());
    for (const bool descriptor : {false, true}) {
      std::array<uint8_t, kMaxSenseSize> bytes;
      const size_t size = encode(sense, descriptor, bytes);
      FUZZ_CHECK(size <= bytes.size());
      const auto again = decode_sense(std::span(bytes).first(size));
      FUZZ_CHECK(again.has_value() && again->same_code(sense));
      FUZZ_CHECK(!descriptor || again->field == sense.field);
    }
  }

  void check_plan(const Plan& plan, const std::vector<Range>& ranges) const {
    const bool travels = plan.kind != Kind::kZero && plan.kind != Kind::kWriteSame;
    if (plan.kind == Kind::kFlush) return;
    if (plan.kind == Kind::kUnmap) {
      FUZZ_CHECK(facts_.thin && !ranges.empty() && ranges.size() <= kMaxUnmapDescriptors);
      for (const Range& range : ranges) FUZZ_CHECK(holds(facts_.blocks, range.lba, range.blocks));
      return;
    }
    FUZZ_CHECK(plan.blocks > 0 && holds(facts_.blocks, plan.lba, plan.blocks));
    if (travels) FUZZ_CHECK(plan.blocks <= kMaxTransferBlocks);
    const uint64_t bytes = plan.blocks * kBlock;
    switch (plan.kind) {
      case Kind::kRead:
      case Kind::kZero:
      case Kind::kMark:
        FUZZ_CHECK(plan.data_out == 0);
        break;
      case Kind::kVerify:
        FUZZ_CHECK(plan.data_out == (plan.compare ? bytes : 0));
        break;
      case Kind::kCompareAndWrite:
        FUZZ_CHECK(plan.data_out == 2 * bytes);
        break;
      case Kind::kWriteSame:
        FUZZ_CHECK(plan.data_out == kBlock);
        break;
      default:
        FUZZ_CHECK(plan.data_out == bytes);
        break;
    }
  }

  void carry_out(const Plan& plan, std::span<const Range> ranges, const Cdb& cdb) {
    const uint64_t bytes = plan.kind == Kind::kRead ? plan.blocks * kBlock : plan.data_out;
    std::vector<uint8_t> data(bytes);
    if (plan.kind != Kind::kRead) fill(plan, data);
    // In pieces of odd sizes.
    std::vector<iovec> pieces;
    const size_t step = plan.blocks % 3 == 0 ? 700 : 64 * 1024;
    for (size_t at = 0; at < data.size(); at += step) {
      pieces.push_back({&data[at], std::min(step, data.size() - at)});
      if (pieces.size() + 1 == Execution::kMaxBuffers) {
        pieces.push_back(
            {&data[at] + pieces.back().iov_len, data.size() - at - pieces.back().iov_len});
        break;
      }
    }
    Finished execution;
    if (!execution.start(store_, plan, pieces, ranges)) {
      for (int i = 0; i < 10'000 && execution.calls == 0; ++i) reactor_.step();
      FUZZ_CHECK(execution.calls == 1);
    }
    FUZZ_CHECK(store_.gate.empty());
    check_answer(execution.status(), execution.sense(), cdb);
    learn(plan, ranges, data, execution);
  }
  // Data-out: what is there already, or something new.
  void fill(const Plan& plan, std::vector<uint8_t>& data) {
    const uint8_t seed = input_.take<uint8_t>();
    for (size_t i = 0; i < data.size(); ++i) data[i] = seed < 8 ? 0 : uint8_t(seed + i / kBlock);
    const bool compares = plan.compare || plan.kind == Kind::kCompareAndWrite;
    if (!compares || (seed & 1) != 0) return;
    for (uint64_t i = 0; i < plan.blocks; ++i) {
      std::ranges::copy(blocks_[plan.lba + i], data.begin() + ptrdiff_t(i * kBlock));
    }
  }

  std::optional<uint64_t> first_marked(uint64_t lba, uint64_t blocks) const {
    const auto first = marked_.begin() + ptrdiff_t(lba), last = first + ptrdiff_t(blocks);
    const auto at = std::find(first, last, true);
    if (at == last) return std::nullopt;
    return uint64_t(at - marked_.begin());
  }
  bool is_marked_error(const Sense& sense, uint64_t lba, uint64_t blocks) const {
    const auto first = first_marked(lba, blocks);
    return first && sense.same_code(kReadError) && sense.information == first;
  }
  void unmark(uint64_t lba, uint64_t blocks) {
    std::fill_n(marked_.begin() + ptrdiff_t(lba), blocks, false);
  }

  void learn(const Plan& plan, std::span<const Range> ranges, const std::vector<uint8_t>& data,
             const Execution& execution) {
    const bool good = execution.status() == Status::kGood;
    const bool reads = plan.kind == Kind::kRead || plan.kind == Kind::kVerify ||
                       plan.kind == Kind::kCompareAndWrite;
    if (reads && first_marked(plan.lba, plan.blocks)) {
      // In a verification the first difference may come before it.
      const bool differs = plan.kind != Kind::kRead && execution.sense().same_code(kMiscompare);
      FUZZ_CHECK(differs || is_marked_error(execution.sense(), plan.lba, plan.blocks));
      return;
    }
    if (!reads && plan.kind != Kind::kFlush && plan.kind != Kind::kUnmap && good) {
      unmark(plan.lba, plan.blocks);
    }
    if (plan.kind == Kind::kMark) marked_[plan.lba] = true;
    const auto equal = [&] {
      for (uint64_t i = 0; i < plan.blocks; ++i) {
        if (!std::ranges::equal(blocks_[plan.lba + i],
                                std::span(data).subspan(i * kBlock, kBlock))) {
          return false;
        }
      }
      return true;
    };
    const auto write = [&](size_t from, size_t stride) {
      for (uint64_t i = 0; i < plan.blocks; ++i) {
        std::copy_n(&data[from + i * stride], kBlock, blocks_[plan.lba + i].begin());
      }
    };
    switch (plan.kind) {
      case Kind::kRead:
        FUZZ_CHECK(good && equal());
        return;
      case Kind::kWrite:
      case Kind::kWriteAndVerify:
        FUZZ_CHECK(good);
        return write(0, kBlock);
      case Kind::kWriteSame:
        FUZZ_CHECK(good);
        return write(0, 0);
      case Kind::kVerify:
        FUZZ_CHECK(!plan.compare || good == equal());
        break;
      case Kind::kCompareAndWrite:
        FUZZ_CHECK(good == equal());
        if (good) return write(plan.blocks * kBlock, kBlock);
        break;
      case Kind::kZero:
        FUZZ_CHECK(good);
        for (uint64_t i = 0; i < plan.blocks; ++i) blocks_[plan.lba + i] = Block{};
        return;
      case Kind::kUnmap:
        FUZZ_CHECK(good);
        for (const Range& range : ranges) {
          unmark(range.lba, range.blocks);
          for (uint64_t i = 0; i < range.blocks; ++i) blocks_[range.lba + i] = Block{};  // LBPRZ
        }
        return;
      default:
        FUZZ_CHECK(good);
        return;
    }
    if (good) return;
    // Where the first difference is.
    FUZZ_CHECK(execution.sense().same_code(kMiscompare) && execution.sense().information);
    const uint64_t at = *execution.sense().information;
    FUZZ_CHECK(at < plan.blocks * kBlock);
    FUZZ_CHECK(blocks_[plan.lba + at / kBlock][at % kBlock] != data[at]);
  }

  fuzz::Input& input_;
  sim::SimReactor reactor_;
  std::shared_ptr<storage::Volume> volume_ = *storage::open("ram:32KiB,bs=512");
  std::unique_ptr<storage::Channel> channel_ = *volume_->open_channel(reactor_);
  storage::RangeGate gate_;
  storage::LateRanges late_;
  iser_target::Store store_{*channel_, kBlock, late_, gate_, 0, reactor_, *volume_};
  UnitFacts facts_{.block_size = kBlock,
                   .blocks = kBlocks,
                   .max_transfer_blocks = kMaxTransferBlocks,
                   .serial = "1",
                   .naa = std::vector<uint8_t>(8, 0x31),
                   .target_name = "iqn.2026-11.org.example:disk"};
  std::string saved_;
  std::vector<uint8_t> copy_list_;  // of the command under way
  Nexus alice_{"iqn.a,i,0x000000000001"}, bob_{"iqn.b,i,0x000000000002"};
  Nexus* const nexuses_[2] = {&alice_, &bob_};
  std::unique_ptr<LogicalUnit> unit_;
  std::array<Block, kBlocks> blocks_;
  std::array<bool, kBlocks> marked_{};
};

}  // namespace
}  // namespace mrpool::scsi

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  mrpool::scsi::Run(input).run();
  return 0;
}
