// The receive side of MPA: turns a byte stream, cut anywhere, into DDP segments, and returns where
// to receive the next bytes.
//
// The driver alternates plan() and commit(). plan() returns the list of the next readv: scratch
// space, or, after the header of a large FPDU, the registered memory of its payload followed by
// scratch. commit() processes what was received. Every complete FPDU
// of one readv is handled by one commit().
//
// An FPDU that lies whole in scratch has its CRC checked before any of it is placed. An FPDU that
// is received in parts is placed as it arrives, and end() is called only after its CRC was correct.
// A wrong CRC leaves undefined bytes in the buffer and ends the connection (RFC 5044 §8).
//
// A segment may have to wait. The receiver then holds what it was given from that segment on, and
// resume() takes the place of plan() and commit() until nothing is held any more.
//
// Thread safety: the reactor of its Qp.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "transport/uiwarp/crc32c.h"
#include "transport/uiwarp/terminate.h"
#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

// Takes the segments. Each call returns false when the stream must end there; the receiver then
// works no further.
class SegmentHandler {
 public:
  // A header; `payload` bytes follow.
  virtual bool begin(const SegmentHeader& header, size_t payload) = 0;
  // begin() has returned false only because the segment must wait: resume() calls begin() again.
  virtual bool waits() const { return false; }
  // Where payload [offset, offset + bytes) may be received directly: fills `out` from the front and
  // returns how many entries. 0: it goes through place().
  virtual size_t landing(size_t offset, size_t bytes, std::span<iovec> out) = 0;
  virtual bool place(size_t offset, const std::byte* from, size_t bytes) = 0;
  // The segment is whole and its CRC is right.
  virtual bool end() = 0;
  // An FPDU without ULPDU (RFC 6581's zero-length ready-to-receive).
  virtual bool empty_fpdu() = 0;
  virtual void violation(const TerminateCode& code) = 0;

 protected:
  ~SegmentHandler() = default;
};

class Receiver {
 public:
  // An FPDU up to here waits until all of it has come; a larger one is placed in parts.
  static constexpr size_t kWholeBytes = 2048;
  static constexpr size_t kMaxPieces = 64;
  // FPDUs in a round until others have their turn. One without payload moves nothing, and costs its
  // sender nearly nothing: it counts kIdleWork times.
  static constexpr uint32_t kWorkPerRound = 256;
  static constexpr uint32_t kIdleWork = 16;

  explicit Receiver(SegmentHandler& handler) : handler_(handler) {}

  void set_crc(bool on) { crc_on_ = on; }

  // Entries filled; all of `scratch` belongs to the receiver until commit().
  size_t plan(std::span<std::byte> scratch, std::span<iovec> out);
  // `bytes` came, into the list plan() gave. False: the stream must end.
  bool commit(std::span<std::byte> scratch, std::span<const iovec> planned, size_t bytes);

  // A segment waits, and what was received after it, at most one scratch.
  bool holds() const { return !held_.empty(); }
  // The segment may go on. False: the stream must end. Another one may have to wait after it.
  bool resume();

  // A round of the driver begins. When the FPDUs of a round have taken too much work, tired()
  // returns true and the next plans offer less scratch. The rest stays with the stream, so that
  // other connections have their turn.
  void start_round() { work_ = idle_ = 0; }
  bool tired() const { return work_ >= kWorkPerRound; }
  // The round's work was WRITEs without payload: a flood, which is read again after a rest. (A SEND
  // without payload uses a receive, and so is not a flood.)
  bool flooded() const { return idle_ >= kWorkPerRound / kIdleWork; }

  // No FPDU has been cut: the stream may end here in good order.
  bool at_boundary() const { return state_ == State::kFrame && stashed_ == 0 && !holds(); }
  size_t memory_bytes() const { return (stash_ != nullptr ? kWholeBytes : 0) + held_.capacity(); }

 private:
  enum class State : uint8_t { kFrame, kPayload, kTrailer };

  bool feed(const std::byte* at, size_t bytes);
  void pace(size_t bytes, uint32_t work);
  bool whole(const std::byte* at, size_t ulpdu);
  bool start_parts(const std::byte* at, size_t ulpdu);
  bool finish_parts();
  void stash(const std::byte* at, size_t bytes);
  bool hold(const std::byte* at, size_t bytes);
  void payload_came(size_t bytes);
  void expect_bulk_after(size_t ulpdu);

  SegmentHandler& handler_;
  bool crc_on_ = true;
  State state_ = State::kFrame;
  // Of the FPDU that is received in parts.
  size_t ulpdu_ = 0;
  size_t done_ = 0;
  size_t remaining_ = 0;
  Crc32c crc_;
  std::array<std::byte, kMaxTrailerBytes> trailer_;
  size_t trailer_have_ = 0;
  // The start of an FPDU that waits for its rest.
  std::unique_ptr<std::byte[]> stash_;
  size_t stashed_ = 0;
  std::vector<std::byte> held_;  // from the segment on that waits
  size_t held_at_ = 0;           // where that begins
  size_t direct_bytes_ = 0;      // of the plan: in front of scratch
  uint8_t bulk_ = 0;             // not zero: bulk came lately
  uint32_t work_ = 0;            // in this round
  uint32_t idle_ = 0;            // tagged FPDUs without payload in this round
  size_t paced_bytes_ = 0;       // of scratch in a plan, while paced_
  uint8_t paced_ = 0;            // not zero: more came at once than a round is for, lately
};

}  // namespace mrpool::uiwarp
