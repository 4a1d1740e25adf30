// The buffers of a link: the number and size of receives, exchanges and other messages. The
// protocol chooses it when a peer requests a connection; it determines all memory of the link.
//
// Thread safety: values. Units: bytes unless the name has another unit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mrpool::engine {

struct LinkLayout {
  uint32_t receives = 0;        // messages that the peer may have outstanding
  uint32_t receive_bytes = 0;   // the longest message
  uint32_t receive_stride = 0;  // from one receive to the next
  uint32_t receive_offset = 0;  // of a message in its stride, so that the data in it is aligned
  uint32_t kept = 0;            // receives that may be replaced while kept
  uint32_t exchanges = 0;       // outstanding commands, including unfinished answers
  uint32_t exchange_bytes = 0;  // memory that the protocol allocates for each
  uint32_t answer_bytes = 0;    // the longest answer, a multiple of 16
  uint32_t messages = 0;        // concurrent messages of this side outside exchanges
  uint32_t message_bytes = 0;   // the longest of them, a multiple of 16
  bool solicited = false;       // answers are SENDs with solicited event

  // Registered memory.
  size_t registered() const {
    return size_t{receives} * receive_stride + size_t{exchanges} * answer_bytes +
           size_t{messages} * message_bytes;
  }
  // The most memory that such a link can use, without the Qp's own buffers.
  size_t worst_memory() const {
    return registered() + size_t{kept} * receive_stride + size_t{exchanges} * exchange_bytes;
  }
};

}  // namespace mrpool::engine
