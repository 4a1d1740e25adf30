// Intrusive lists. An element leaves its list automatically when it is destroyed. Insertion and
// removal take constant time and no memory.
//
// Thread safety: one thread.
#pragma once

#include <boost/intrusive/list.hpp>

namespace mrpool::engine {

using ListHook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
template <typename Item>
using List = boost::intrusive::list<Item, boost::intrusive::base_hook<ListHook>,
                                    boost::intrusive::constant_time_size<false>>;

}  // namespace mrpool::engine
