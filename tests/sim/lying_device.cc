#include "tests/sim/lying_device.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <utility>

#include "tests/sim/device_wrapper.h"

namespace mrpool::sim {

namespace {

constexpr size_t kEarlier = 16;
constexpr size_t kLongest = 16384;

class LyingQp final : public QpWrapper {
 public:
  LyingQp(std::unique_ptr<Qp> inner, std::shared_ptr<Lies> lies)
      : QpWrapper(std::move(inner)), lies_(std::move(lies)) {}
  ~LyingQp() override { end_inner(); }

  PostResult post_send(const WorkRequest& chain) override {
    std::vector<const WorkRequest*> meant;
    for (const WorkRequest* at = &chain; at != nullptr; at = at->next) meant.push_back(at);
    std::vector<WorkRequest> said;
    for (const WorkRequest* each : meant) said.push_back(*each);
    std::vector<Sge> places(said.size());
    for (size_t i = 0; i < said.size(); ++i) {
      said[i].next = i + 1 < said.size() ? &said[i + 1] : nullptr;
      tell(said[i], places[i]);
    }
    PostResult result = inner().post_send(said.front());
    if (result.refused != nullptr) result.refused = meant[result.refused - said.data()];
    return result;
  }

 private:
  // The changed bytes, kept until the queue pair has ended.
  struct Kept {
    std::vector<std::byte> bytes;
    std::unique_ptr<Mr> mr;
  };

  void tell(WorkRequest& request, Sge& place) {
    const bool message = request.opcode == Opcode::kSend || request.opcode == Opcode::kSendWithInv;
    if (!message && request.opcode != Opcode::kRdmaWrite) return;
    const bool lie = lies_->due();
    if (!message && !lie) return;
    std::vector<std::byte> bytes;
    for (const Sge& sge : request.sges) {
      bytes.insert(bytes.end(), sge.addr, sge.addr + sge.length);
    }
    if (lie) {
      ++lies_->told;
      switch (lies_->below(8)) {
        case 0:
          misdirect(request);
          break;
        case 1:
          if (message && !lies_->remembered().empty()) bytes = lies_->remembered();
          break;
        default:
          lies_->change(bytes);
          break;
      }
      keep(request, place, bytes);
    }
    if (message) {
      lies_->remember(bytes);
      lies_->sent(bytes);
    }
  }
  void misdirect(WorkRequest& request) {
    if (request.opcode == Opcode::kSendWithInv && lies_->below(2) == 0) {
      request.opcode = Opcode::kSend;
    } else if (lies_->below(2) == 0) {
      request.rkey.value ^= 1u << lies_->below(32);
    } else {
      request.remote_addr.value += lies_->below(8192) - 4096;
    }
  }
  void keep(WorkRequest& request, Sge& place, const std::vector<std::byte>& bytes) {
    request.sges = {};
    if (bytes.empty()) return;
    Kept& kept = kept_.emplace_back(bytes, nullptr);
    kept.mr = std::move(*pd().reg_mr(kept.bytes, Access::kNone));
    place = kept.mr->sge(0, static_cast<uint32_t>(kept.bytes.size()));
    request.sges = {&place, 1};
  }

  const std::shared_ptr<Lies> lies_;
  std::deque<Kept> kept_;
};

}  // namespace

void Lies::change(std::vector<std::byte>& bytes) {
  switch (below(8)) {
    case 0:
      bytes.resize(below(bytes.size() + 1));
      break;
    case 1:
      bytes.resize(std::min(bytes.size() + below(8192), kLongest), std::byte{0x5a});
      break;
    case 2: {
      const size_t at = below(bytes.size());
      const size_t end = std::min(bytes.size(), at + 1 + below(64));
      for (size_t i = at; i < end; ++i) bytes[i] = static_cast<std::byte>(below(256));
      break;
    }
    default:
      change_field(bytes);
      break;
  }
}

// Most fields that matter are in front.
void Lies::change_field(std::vector<std::byte>& bytes) {
  const size_t width = size_t{1} << below(4);
  if (bytes.size() < width) return;
  const size_t fronts[] = {16, 64, 256, bytes.size()};
  const size_t front = std::min(bytes.size(), fronts[below(4)]);
  const size_t at = below(std::max<size_t>(front / width, 1)) * width;
  uint64_t value = 0;
  std::memcpy(&value, &bytes[at], width);
  const bool big = below(2) == 0;
  const auto swap = [&] {
    if (big) value = std::byteswap(value) >> (64 - 8 * width);
  };
  swap();
  const uint64_t highest = uint64_t{1} << (8 * width - 1);
  const uint64_t values[] = {
      0,           1,         ~uint64_t{0}, highest,
      highest - 1, value + 1, value - 1,    value ^ uint64_t{1} << below(8 * width),
      rng_()};
  value = values[below(std::size(values))];
  swap();
  std::memcpy(&bytes[at], &value, width);
}

void Lies::remember(std::span<const std::byte> message) {
  std::vector<std::byte> copy(message.begin(), message.end());
  if (earlier_.size() < kEarlier) {
    earlier_.push_back(std::move(copy));
  } else {
    earlier_[below(kEarlier)] = std::move(copy);
  }
}

const std::vector<std::byte>& Lies::remembered() {
  static const std::vector<std::byte> kNone;
  return earlier_.empty() ? kNone : earlier_[below(earlier_.size())];
}

std::shared_ptr<Device> make_lying_device(std::shared_ptr<Device> inner,
                                          std::shared_ptr<Lies> lies) {
  return wrap_device(std::move(inner), [lies](auto qp, const QpOptions&) {
    return std::make_unique<LyingQp>(std::move(qp), lies);
  });
}

}  // namespace mrpool::sim
