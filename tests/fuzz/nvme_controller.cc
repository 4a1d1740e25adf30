// NVMe capsules against a live target. A host that may connect sends anything on its admin queue
// and its I/O queue, valid or not, one by one or many at once, while namespaces are added and
// removed. An honest host uses another subsystem.
//
// For every input: each command is answered once with a valid status, or its connection ends. No
// byte of a host changes that its command did not lend. A read returns what was written before. The
// honest host is not affected. At the end all memory, MRs and controllers are returned.
#include <array>
#include <optional>
#include <utility>

#include "tests/fuzz/nvme_host.h"

namespace mrpool::fuzz {
namespace {

using nvme::IoOpcode;
using nvme::SglDescriptor;
using nvme::Sqe;
using Block = std::array<std::byte, kBlock>;

constexpr uint8_t kDynamic = 0xff;  // stands for "whichever controller"

// A host of its own subsystem: its data is what it wrote, whatever others do.
class HonestHost {
 public:
  explicit HonestHost(NvmeWorld& world)
      : admin_(world, 0),
        controller_(admin_.connect(kPrivateNqn, kHonest, nvme::kDynamicController)),
        io_(world, 1) {
    io_.connect(kPrivateNqn, kHonest, controller_);
    transfer(IoOpcode::kWrite);
  }
  void check() {
    FUZZ_CHECK(!admin_.down && !io_.down);
    const std::vector<std::byte> wrote(&io_.memory[kAt], &io_.memory[kAt] + kBytes);
    io_.put(kAt, std::vector<std::byte>(kBytes));
    transfer(IoOpcode::kRead);
    FUZZ_CHECK(std::equal(wrote.begin(), wrote.end(), &io_.memory[kAt]));
    FUZZ_CHECK(!admin_.down && !io_.down);
  }

 private:
  static constexpr size_t kAt = HostQueue::kGuard, kBytes = 4 * kBlock;

  void transfer(IoOpcode opcode) {
    Sqe sqe;
    sqe.opcode = uint8_t(opcode);
    sqe.flags = nvme::kPsdtSgl;
    sqe.nsid = uint32_t{1};
    sqe.set_range(8, kBytes / kBlock);
    sqe.sgl = SglDescriptor::keyed(io_.lent(0, kBytes), false);
    std::vector<Stretch> writes;
    if (opcode == IoOpcode::kRead) writes = {{kAt, kBytes}};
    const auto answer = io_.execute(nvme::bytes_of(sqe), {}, writes);
    FUZZ_CHECK(answer.got && ok(answer.status));
  }

  HostQueue admin_;
  const uint16_t controller_;
  HostQueue io_;
};

// What namespace 1 of the open subsystem holds, as far as it can be known.
class Model {
 public:
  std::array<std::optional<Block>, kBlocks> blocks;
  std::array<bool, kBlocks> marked{};  // as uncorrectable, for sure
  Model() { blocks.fill(Block{}); }
  void forget() { forget(0, kBlocks); }
  void unmark(uint64_t first, uint64_t count) {
    std::fill_n(marked.begin() + ptrdiff_t(first), count, false);
  }
  bool readable(uint64_t first, uint64_t count) const {
    return std::none_of(&marked[first], &marked[first] + count, [](bool each) { return each; });
  }
  void forget(uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < kBlocks && i - first < count; ++i) {
      blocks[i].reset();
      marked[i] = false;
    }
  }
  static bool holds(uint64_t first, uint64_t count) {
    return first <= kBlocks && count <= kBlocks - first;
  }
};

// Storage that takes its time, or fails now and then; plain RAM for most inputs.
std::shared_ptr<storage::FaultPlan> faults(uint8_t mode) {
  if ((mode & 0x30) == 0) return nullptr;
  auto plan = std::make_shared<storage::FaultPlan>(mode);
  for (const auto op : {storage::Op::kRead, storage::Op::kWrite, storage::Op::kFlush,
                        storage::Op::kWriteZeroes, storage::Op::kDeallocate}) {
    const bool fails = (mode & 0x20) != 0;
    plan->add({.op = op,
               .error = fails ? storage::Error::kNoSpace : storage::Error::kNone,
               .delay = (mode & 0x10) != 0 ? std::chrono::microseconds(200) : Nanoseconds{},
               .probability = fails ? 0.3 : 1.0});
  }
  return plan;
}

class Attacker {
 public:
  Attacker(NvmeWorld& world, uint8_t mode, Input& input) : world_(world), input_(input) {
    one_by_one_ = (mode & 1) == 0;
    if ((mode & 2) != 0) world.network->set_options({.seed = mode, .max_transfer = 48});
    queues_[0] = std::make_unique<HostQueue>(world, 0);
    if ((mode & 4) == 0) {
      controller_ = queues_[0]->connect(kOpenNqn, kAttacker, nvme::kDynamicController);
    }
    queues_[1] = std::make_unique<HostQueue>(world, 1);
    if ((mode & 12) == 0) queues_[1]->connect(kOpenNqn, kAttacker, controller_);
  }

  void run() {
    for (int i = 0; i < 32 && !input_.empty(); ++i) {
      step();
      for (const auto& queue : queues_) queue->check_memory();
    }
    for (const auto& queue : queues_) queue->settle();
  }

 private:
  enum Kind : uint8_t { kIo = 0, kAdmin = 1, kFabrics = 2, kOther = 3 };

  void step() {
    const uint8_t control = input_.take<uint8_t>();
    const Kind kind = Kind(control & 3);
    if (kind == kOther) return other(control >> 2);
    const bool natural = (control & 4) == 0;
    const bool is_io = kind == kIo;
    HostQueue& queue = *queues_[is_io == natural ? 1 : 0];
    const uint8_t form = control >> 3;  // of the SGL
    const uint8_t options = input_.take<uint8_t>();

    Sqe sqe;
    sqe.flags = nvme::kPsdtSgl;
    sqe.command_id = next_id_++;
    if ((options & 1) != 0) sqe.command_id = uint16_t(input_.take<uint8_t>() & 7);
    if ((options & 2) != 0) sqe.flags = input_.take<uint8_t>();
    uint64_t length = 0;
    switch (kind) {
      case kIo:
        length = io_command(sqe);
        break;
      case kAdmin:
        length = admin_command(sqe);
        break;
      default:
        length = fabrics_command(sqe, queue);
        break;
    }
    if ((options & 4) != 0) {
      sqe.cdw12 = input_.take<uint32_t>();
      sqe.cdw13 = input_.take<uint32_t>();
    }
    std::vector<std::byte> behind = std::exchange(connect_data_, {});
    if (behind.empty()) {
      describe(queue, sqe, form, length, behind);
    } else {
      sqe.sgl = SglDescriptor::in_capsule(0, uint32_t(behind.size()));
    }
    if ((options & 8) != 0) behind.resize(behind.size() + input_.take<uint8_t>());
    submit(queue, sqe, behind, (options & 16) != 0);
  }

  uint64_t io_command(Sqe& sqe) {
    constexpr IoOpcode kOpcodes[] = {IoOpcode::kRead,    IoOpcode::kWrite,
                                     IoOpcode::kCompare, IoOpcode::kWriteZeroes,
                                     IoOpcode::kFlush,   IoOpcode::kDatasetManagement,
                                     IoOpcode::kVerify,  IoOpcode::kCopy};
    const uint8_t opcode = input_.take<uint8_t>();
    sqe.opcode = opcode < 0xc0 ? uint8_t(kOpcodes[opcode % std::size(kOpcodes)]) : opcode;
    // No number of its own, so that the corpus keeps its meaning.
    if (opcode >> 4 == 0xd) sqe.opcode = uint8_t(IoOpcode::kWriteUncorrectable);
    const uint8_t nsid = input_.take<uint8_t>();
    sqe.nsid = nsid < 0xc0 ? nsid % 4u + 1 : nsid == 0xff ? nvme::kBroadcastNsid : nsid;
    const uint8_t slba = input_.take<uint8_t>();
    const uint8_t blocks = input_.take<uint8_t>();
    sqe.set_range(slba == 0xff ? input_.take<uint64_t>() : slba % 20,
                  blocks == 0xff ? 1 + input_.take<uint16_t>() : 1 + blocks % 18);
    if (IoOpcode(sqe.opcode) == IoOpcode::kDatasetManagement) {
      sqe.cdw10 = blocks % 8u;  // ranges, zero based
      sqe.cdw11 = slba % 8u;    // attributes
      return (blocks % 8u + 1) * sizeof(nvme_dsm_range);
    }
    if (IoOpcode(sqe.opcode) == IoOpcode::kCopy) {
      sqe.cdw12 = blocks;  // ranges, zero based
      return (blocks % 130u + 1) * sizeof(nvme_copy_range);
    }
    if (nvme::data_direction(sqe.opcode) == nvme::DataDirection::kNone) return 0;
    return uint64_t(sqe.blocks()) * (sqe.nsid == 2 ? 4096 : kBlock);
  }

  uint64_t admin_command(Sqe& sqe) {
    using nvme::AdminOpcode;
    constexpr AdminOpcode kOpcodes[] = {
        AdminOpcode::kIdentify,    AdminOpcode::kGetLogPage,  AdminOpcode::kAbort,
        AdminOpcode::kSetFeatures, AdminOpcode::kGetFeatures, AdminOpcode::kAsyncEventRequest,
        AdminOpcode::kKeepAlive,   AdminOpcode::kCreateSq,    AdminOpcode::kFormat};
    const uint8_t opcode = input_.take<uint8_t>();
    sqe.opcode = opcode < 0xc0 ? uint8_t(kOpcodes[opcode % std::size(kOpcodes)]) : opcode;
    const uint8_t nsid = input_.take<uint8_t>();
    sqe.nsid = nsid == 0xff ? nvme::kBroadcastNsid : nsid;
    sqe.cdw10 = input_.take<uint32_t>();
    sqe.cdw11 = input_.take<uint16_t>();
    switch (AdminOpcode(sqe.opcode)) {
      case AdminOpcode::kIdentify:
        return 4096;
      case AdminOpcode::kGetLogPage:
        return nvmf_target::log_range(sqe).length;
      case AdminOpcode::kGetFeatures:
        return (sqe.cdw10 & 0xff) == NVME_FEAT_FID_HOST_ID ? 16 : 0;
      default:
        return 0;
    }
  }

  uint64_t fabrics_command(Sqe& sqe, HostQueue& queue) {
    using nvme::FabricsType;
    const uint8_t type = input_.take<uint8_t>();
    const uint16_t command_id = sqe.command_id;
    if (type % 4 == 0) {
      nvme::ConnectCommand command;
      const uint8_t controller = input_.take<uint8_t>();
      command.queue_id = uint16_t(queue.id ^ (input_.take<uint8_t>() & 1));
      command.sq_size0 = uint16_t(input_.take<uint8_t>() % 18);
      command.attributes = uint8_t(type & 4);
      command.keep_alive_ms = uint32_t(input_.take<uint8_t>());
      sqe = std::bit_cast<Sqe>(command);
      sqe.command_id = command_id;
      const auto data = HostQueue::connect_data(
          (type & 0x10) != 0   ? kPrivateNqn
          : (type & 0x20) != 0 ? nvme::kDiscoveryNqn
                               : kOpenNqn,
          kAttacker, controller == kDynamic ? nvme::kDynamicController : controller);
      const auto bytes = nvme::bytes_of(data);
      if ((type & 0x40) != 0) {
        connect_data_.assign(bytes.begin(), bytes.end());
      } else {
        queue.put(HostQueue::kGuard, bytes);  // to be fetched
      }
      return sizeof data;
    }
    nvme::PropertyCommand command;
    command.type = type % 4 == 1   ? FabricsType::kPropertySet
                   : type % 4 == 2 ? FabricsType::kPropertyGet
                                   : FabricsType(input_.take<uint8_t>());
    command.attributes = input_.take<uint8_t>();
    command.offset = uint32_t(input_.take<uint8_t>());
    command.value = uint64_t(input_.take<uint32_t>());
    sqe = std::bit_cast<Sqe>(command);
    sqe.command_id = command_id;
    return 0;
  }

  // The data of a command, described in one of many ways.
  void describe(HostQueue& queue, Sqe& sqe, uint8_t form, uint64_t length,
                std::vector<std::byte>& behind) {
    const size_t offset = (form & 0x10) != 0 ? input_.take<uint16_t>() : 0;
    switch (form & 15) {
      case 0:
      case 1:
        // Nothing at all is described by a command without data.
        if (length != 0) sqe.sgl = SglDescriptor::keyed(queue.lent(offset, length), false);
        return;
      case 2:
        sqe.sgl = SglDescriptor::keyed(queue.lent(offset, input_.take<uint16_t>()), false);
        return;
      case 3:
        sqe.sgl = SglDescriptor::keyed(queue.read_only(offset, length), false);
        return;
      case 4:
        sqe.sgl = SglDescriptor::keyed(queue.lent(offset, length), true);
        return;
      case 5: {
        RemoteBuffer stolen = queues_[1 - queue.id]->lent(offset, length);
        stolen.rkey.value += input_.take<uint8_t>();
        sqe.sgl = SglDescriptor::keyed(stolen, false);
        return;
      }
      case 6:
      case 7: {  // in the capsule
        const uint32_t said = (form & 1) != 0 ? input_.take<uint16_t>() : uint32_t(length);
        sqe.sgl = SglDescriptor::in_capsule(offset % 64, said);
        behind.resize(std::min<size_t>(said + offset % 64, 4096));
        const auto bytes = input_.take_bytes(16);
        if (!bytes.empty()) {
          for (size_t i = 0; i < behind.size(); ++i) behind[i] = bytes[i % bytes.size()];
        }
        return;
      }
      case 8: {
        input_.fill(std::as_writable_bytes(std::span(&sqe.sgl, 1)));
        return;
      }
      default: {  // a segment of several pieces, back to front
        const uint32_t pieces = 1 + (form & 3) * 5u;
        uint64_t left = length;
        size_t at = offset + length;
        for (uint32_t i = 0; i < pieces; ++i) {
          const uint64_t part =
              i + 1 == pieces ? left : std::min<uint64_t>(left, input_.take<uint8_t>() * 4);
          at -= part;
          left -= part;
          const auto descriptor = SglDescriptor::keyed(queue.lent(at, part), false);
          const auto bytes = nvme::bytes_of(descriptor);
          behind.insert(behind.end(), bytes.begin(), bytes.end());
        }
        sqe.sgl = SglDescriptor::last_segment(0, uint32_t(behind.size()));
        return;
      }
    }
  }

  // The pieces of the host's memory that a capsule's SGL names, nothing when one of them is none
  // of what was lent. `inside` gets the data that is in the capsule itself.
  static std::optional<std::vector<Stretch>> stretches(const HostQueue& queue, const Sqe& sqe,
                                                       std::span<const std::byte> behind,
                                                       bool for_writing,
                                                       std::vector<std::byte>& inside) {
    std::vector<SglDescriptor> descriptors;
    if (sqe.sgl.type() == nvme::SglType::kLastSegment) {
      const uint64_t at = sqe.sgl.address;
      for (uint64_t i = 0; i + 16 <= sqe.sgl.length() && i < 64 * 16; i += 16) {
        if (at > behind.size() || behind.size() - at < i + 16) return std::nullopt;
        descriptors.push_back(
            nvme::read_struct<SglDescriptor>(behind.subspan(size_t(at) + size_t(i))));
      }
    } else if (sqe.sgl.type() == nvme::SglType::kDataBlock) {
      const uint64_t at = sqe.sgl.address;
      if (at > behind.size() || sqe.sgl.length() > behind.size() - at) return std::nullopt;
      const auto data = behind.subspan(size_t(at), sqe.sgl.length());
      inside.assign(data.begin(), data.end());
      return std::vector<Stretch>{};
    } else {
      descriptors.push_back(sqe.sgl);
    }
    std::vector<Stretch> all;
    for (const SglDescriptor& d : descriptors) {
      Stretch s;
      if (d.type() != nvme::SglType::kKeyedDataBlock) return std::nullopt;
      if (!queue.find(d.remote(), for_writing, s)) return std::nullopt;
      all.push_back(s);
    }
    return all;
  }
  static std::vector<std::byte> gather(const HostQueue& queue, std::span<const Stretch> stretches,
                                       std::vector<std::byte> inside) {
    for (const Stretch& s : stretches) {
      inside.insert(inside.end(), &queue.memory[s.offset], &queue.memory[s.offset] + s.length);
    }
    return inside;
  }

  void submit(HostQueue& queue, const Sqe& sqe, std::span<const std::byte> behind, bool wait) {
    // The entries of the queue are all the host may use; parked requests keep theirs.
    if (queue.pending.size() + 2 > HostQueue::kEntries) queue.settle();
    if (queue.pending.size() + 2 > HostQueue::kEntries) return;
    const bool to_host = sqe.opcode != nvme::kFabricsOpcode &&
                         (sqe.opcode == uint8_t(IoOpcode::kRead) ||
                          (queue.id == 0 && (sqe.opcode == 0x06 || sqe.opcode == 0x0a)));
    std::vector<std::byte> inside;
    const auto where = stretches(queue, sqe, behind, to_host, inside);
    std::vector<Stretch> writes;
    if (to_host) {
      if (where.has_value()) {
        writes = *where;
      } else {
        // Some piece is not ours to lend: what is may still be written in parts.
        writes = {{HostQueue::kGuard, HostQueue::kLent}};
      }
    }
    if (!one_by_one_) {
      model_.forget();
      if (!queue.send(nvme::bytes_of(sqe), behind, std::move(writes))) return;
      if (wait) world_.run_for(std::chrono::microseconds(30));
      return;
    }
    const std::vector<std::byte> data =
        to_host || !where.has_value() ? std::vector<std::byte>{} : gather(queue, *where, inside);
    const auto answer = queue.execute(nvme::bytes_of(sqe), behind, std::move(writes));
    if (queue.id == 1) learn(queue, sqe, answer, where, data);
    if (queue.id == 0 && sqe.opcode == uint8_t(nvme::AdminOpcode::kFormat)) model_.forget();
  }

  // A command on the I/O queue is over: what the storage must hold now.
  void learn(const HostQueue& queue, const Sqe& sqe, const HostQueue::Answer& answer,
             const std::optional<std::vector<Stretch>>& where, const std::vector<std::byte>& data) {
    if (sqe.nsid != 1 || sqe.opcode == nvme::kFabricsOpcode) return;
    const bool success = answer.got && ok(answer.status);
    const uint64_t first = sqe.slba(), count = sqe.blocks();
    const auto opcode = IoOpcode(sqe.opcode);
    if (opcode == IoOpcode::kDatasetManagement) return learn_ranges(sqe, answer, data);
    if (opcode == IoOpcode::kCopy) return learn_copy(sqe, answer, data);
    if (opcode == IoOpcode::kWriteUncorrectable && success) {
      FUZZ_CHECK(Model::holds(first, count));
      std::fill_n(model_.marked.begin() + ptrdiff_t(first), count, true);
      return;
    }
    if (opcode == IoOpcode::kVerify && success) FUZZ_CHECK(model_.readable(first, count));
    if (opcode != IoOpcode::kWrite && opcode != IoOpcode::kRead && opcode != IoOpcode::kCompare &&
        opcode != IoOpcode::kWriteZeroes) {
      return;
    }
    if (!success) {
      const bool writes = opcode == IoOpcode::kWrite || opcode == IoOpcode::kWriteZeroes;
      if (writes) model_.forget(first, count);
      if (nvme::code(answer.status) != nvme::Status::kCompareFailure) return;
    }
    FUZZ_CHECK(Model::holds(first, count));
    const bool changes = opcode == IoOpcode::kWrite || opcode == IoOpcode::kWriteZeroes;
    if (!changes) FUZZ_CHECK(model_.readable(first, count));
    if (changes) model_.unmark(first, count);
    if (opcode == IoOpcode::kWriteZeroes) {
      for (uint64_t b = first; b < first + count; ++b) model_.blocks[b] = Block{};
      return;
    }
    // Who reads or writes with success did so with what was lent.
    FUZZ_CHECK(where.has_value());
    const std::vector<std::byte> bytes =
        opcode == IoOpcode::kRead ? gather(queue, *where, {}) : data;
    FUZZ_CHECK(bytes.size() == count * kBlock);
    bool overlap = false;  // a piece named twice holds what came last
    for (size_t i = 0; i < where->size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        const Stretch &a = (*where)[i], &b = (*where)[j];
        overlap |= a.offset < b.offset + b.length && b.offset < a.offset + a.length;
      }
    }
    bool equal = true, known = true;
    for (uint64_t i = 0; i < count; ++i) {
      auto& block = model_.blocks[first + i];
      const std::byte* found = &bytes[i * kBlock];
      if (opcode == IoOpcode::kWrite) {
        block.emplace();
        std::copy_n(found, kBlock, block->begin());
      } else if (!block.has_value()) {
        known = false;
      } else if (!std::equal(block->begin(), block->end(), found)) {
        equal = false;
      }
    }
    if (opcode == IoOpcode::kRead && !overlap) FUZZ_CHECK(equal);
    if (opcode == IoOpcode::kCompare && known) FUZZ_CHECK(equal == success);
  }

  // A Compare and Write, of one range or of two, all of it lent.
  void fused(HostQueue& queue) {
    const uint8_t options = input_.take<uint8_t>();
    const uint64_t first = input_.take<uint8_t>() % 20, count = 1 + options % 4;
    if (queue.pending.size() + 3 > HostQueue::kEntries) queue.settle();
    if (queue.pending.size() + 3 > HostQueue::kEntries) return;
    Sqe sqe;
    HostQueue::Answer answer;
    for (const auto opcode : {IoOpcode::kCompare, IoOpcode::kWrite}) {
      const bool write = opcode == IoOpcode::kWrite;
      sqe.opcode = uint8_t(opcode);
      sqe.flags = uint8_t(nvme::kPsdtSgl | (write ? 2 : 1));
      sqe.command_id = next_id_++;
      sqe.nsid = uint32_t{1};
      sqe.set_range(first + (write && (options & 0x10) != 0 ? 1 : 0), uint32_t(count));
      sqe.sgl = SglDescriptor::keyed(queue.lent(write ? 4 * kBlock : 0, count * kBlock), false);
      queue.last = {};
      if (!queue.send(nvme::bytes_of(sqe))) return model_.forget();
    }
    if (!one_by_one_) return model_.forget();
    queue.settle();
    answer = queue.last;
    if (answer.got && answer.status == nvme::Status::kFailedFused) return;
    const std::vector<Stretch> where = {{HostQueue::kGuard + 4 * kBlock, count * kBlock}};
    learn(queue, sqe, answer, where, gather(queue, where, {}));
  }

  // A Dataset Management has deallocated its ranges, or failed somewhere.
  void learn_ranges(const Sqe& sqe, const HostQueue::Answer& answer,
                    const std::vector<std::byte>& data) {
    const uint32_t ranges = (sqe.cdw10 & 0xff) + 1;
    if ((sqe.cdw11 & 4) == 0 && answer.got) return;
    const bool success = answer.got && ok(answer.status);
    if (!success || data.size() < ranges * sizeof(nvme_dsm_range)) return model_.forget();
    for (uint32_t i = 0; i < ranges; ++i) {
      const auto range =
          nvme::read_struct<nvme_dsm_range>(std::span(data).subspan(i * sizeof(nvme_dsm_range)));
      const uint64_t at = nvme::le(uint64_t(range.slba));
      const uint64_t n = nvme::le(uint32_t(range.nlb));
      FUZZ_CHECK(Model::holds(at, n));
      model_.unmark(at, n);
      for (uint64_t b = at; b < at + n; ++b) model_.blocks[b] = Block{};  // DLFEAT: zeroes
    }
  }

  // A Copy has copied what was there, range by range, or failed somewhere.
  void learn_copy(const Sqe& sqe, const HostQueue::Answer& answer,
                  const std::vector<std::byte>& data) {
    const uint32_t ranges = nvme::copy_ranges(sqe.cdw12);
    if (!answer.got || !ok(answer.status)) return model_.forget();
    FUZZ_CHECK(data.size() == ranges * sizeof(nvme_copy_range));
    uint64_t to = sqe.slba();
    for (uint32_t i = 0; i < ranges; ++i) {
      const auto range =
          nvme::read_struct<nvme_copy_range>(std::span(data).subspan(i * sizeof(nvme_copy_range)));
      const uint64_t from = nvme::le(uint64_t(range.slba));
      const uint64_t count = uint64_t(nvme::le(uint16_t(range.nlb))) + 1;
      FUZZ_CHECK(Model::holds(from, count) && Model::holds(to, count));
      FUZZ_CHECK(model_.readable(from, count));
      model_.unmark(to, count);
      for (uint64_t b = 0; b < count; ++b) model_.blocks[to + b] = model_.blocks[from + b];
      to += count;
    }
  }

  // Bytes that are not a command.
  void other(uint8_t choice) {
    HostQueue& queue = *queues_[choice >> 3 & 1];
    switch (choice & 7) {
      case 0:
        return world_.run_for(std::chrono::milliseconds(10 * input_.take<uint8_t>()));
      case 1:  // a capsule of any length
        queue.send(input_.take_bytes(input_.take<uint8_t>() % 64));
        return;
      case 2: {  // any SQE
        Sqe sqe;
        input_.fill(std::as_writable_bytes(std::span(&sqe, 1)));
        return submit(queue, sqe, input_.take_bytes(input_.take<uint8_t>()), false);
      }
      case 3:
        second_ = !second_;
        FUZZ_CHECK(world_.serve_open(second_));
        return;
      case 4:
        return queue.abort();
      case 5: {  // the host comes again
        const uint16_t id = queue.id;
        queues_[id].reset();
        queues_[id] = std::make_unique<HostQueue>(world_, id);
        return;
      }
      case 6: {  // overruns its queue
        Sqe sqe;
        sqe.opcode = uint8_t(IoOpcode::kFlush);
        sqe.flags = nvme::kPsdtSgl;
        for (uint32_t i = 0; i < 2 * HostQueue::kEntries; ++i) queue.send(nvme::bytes_of(sqe));
        return queue.settle();
      }
      default: {  // new contents, or a Compare and Write
        if ((choice & 0x10) != 0) return fused(*queues_[1]);
        const auto bytes = input_.take_bytes(64);
        if (one_by_one_ && !bytes.empty()) {
          std::vector<std::byte> all(HostQueue::kLent);
          for (size_t i = 0; i < all.size(); ++i) all[i] = bytes[i % bytes.size()];
          queue.put(HostQueue::kGuard, all);
        }
        return;
      }
    }
  }

  NvmeWorld& world_;
  Input& input_;
  bool one_by_one_ = true;
  std::unique_ptr<HostQueue> queues_[2];
  uint16_t controller_ = 1;
  uint16_t next_id_ = 8;
  bool second_ = true;
  Model model_;
  std::vector<std::byte> connect_data_;
};

}  // namespace
}  // namespace mrpool::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  const uint8_t mode = input.take<uint8_t>();
  mrpool::fuzz::NvmeWorld world(mrpool::fuzz::faults(mode));
  mrpool::fuzz::HonestHost honest(world);
  mrpool::fuzz::Attacker(world, mode, input).run();
  honest.check();
  return 0;
}
