// What a link is made of: how many receives of which size, exchanges and other messages. A protocol
// asks for it when a peer wants to connect; all of a link's memory follows from it.
//
// Thread safety: values. Units: bytes unless the name says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mrpool::engine {

struct LinkLayout {
  uint32_t receives = 0;        // messages the peer may have under way
  uint32_t receive_bytes = 0;   // the longest message
  uint32_t receive_stride = 0;  // from one receive to the next
  uint32_t receive_offset = 0;  // of a message in its stride, so that the data in it is aligned
  uint32_t kept = 0;            // receives that others may take the place of
  uint32_t exchanges = 0;       // commands under way, answers that have not completed included
  uint32_t exchange_bytes = 0;  // what the protocol allocates for each
  uint32_t answer_bytes = 0;    // the longest answer, a multiple of 16
  uint32_t messages = 0;        // messages of this side outside exchanges, at once
  uint32_t message_bytes = 0;   // the longest of them, a multiple of 16
  bool solicited = false;       // answers ask for an event at the peer

  // Registered memory.
  size_t registered() const {
    return size_t{receives} * receive_stride + size_t{exchanges} * answer_bytes +
           size_t{messages} * message_bytes;
  }
  // All that such a link can come to hold, its Qp's own buffers not counted.
  size_t worst_memory() const {
    return registered() + size_t{kept} * receive_stride + size_t{exchanges} * exchange_bytes;
  }
};

}  // namespace mrpool::engine
