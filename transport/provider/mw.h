// Memory windows: a key for a part of a region that the program binds and ends by work requests.
//
// A window is a FastMr of the device: a bind is its registration, in the order of the send queue.
// A window of type 2 (2B) keeps its FastMr; its key is valid on the QP that bound it. One of type 1
// has a new key, and a new FastMr, with each bind, valid on all QPs of the Pd; the bind ends the
// old key.
//
// Thread safety: under the engine's lock. Ownership: the program's; a bind under way keeps the
// FastMr that it registers.
#pragma once

#include <infiniband/verbs.h>

#include <memory>

#include "transport/provider/objects.h"

namespace mrpool::uiwarp {
class UiwarpFastMr;
}

namespace mrpool::provider {

struct MwObject {
  Handle<ibv_mw, MwObject> handle;
  PdObject* pd = nullptr;
  std::shared_ptr<uiwarp::UiwarpFastMr> mr;
  static MwObject* from(ibv_mw* mw) { return Handle<ibv_mw, MwObject>::from(mw); }
};

// A bind in a send queue.
struct MwBind {
  std::shared_ptr<uiwarp::UiwarpFastMr> mr;
  std::shared_ptr<uiwarp::UiwarpFastMr> ends;  // type 1: whose key dies with this bind
  Sge range{};
  Access access = Access::kNone;
  uint8_t key_part = 0;  // type 2

  // Of a request of type 2, the window's Pd being `pd`: 0 or an errno.
  int fill(const ibv_send_wr& wr, PdObject& pd);
  // The same of type 1: `mw` gets its new key.
  int fill(MwObject& mw, const ibv_mw_bind_info& info);
  // An earlier registration of the window has not completed.
  bool must_wait() const;
  bool has_key(Rkey rkey) const;
  // The key that it gives.
  uint32_t key() const;
  // The old key, if it has to end first and the device does not know it yet.
  std::optional<Rkey> key_to_end() const;
  // The device ends the key; `by_request`: in the order of the send queue.
  void key_ended(bool by_request);
  // Describes the range to the FastMr; false: it cannot be bound.
  bool map();
  FastMr* fast_mr() const;
  void clear() { *this = {}; }

 private:
  bool ended_ = false;
  int set_range(const ibv_mw_bind_info& info, PdObject& pd);
};

}  // namespace mrpool::provider
