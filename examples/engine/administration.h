// What a daemon's main thread offers to whatever else runs on it: the control socket's methods, and
// changes of what is served.
//
// Thread safety: the main loop's thread. Ownership: the main program's (daemon.cc); it ends before
// the application.
#pragma once

#include <boost/asio/io_context.hpp>

#include "examples/control/methods.h"
#include "examples/engine/changes.h"

namespace mrpool::engine {

struct Administration {
  boost::asio::io_context& loop;  // the main thread's: nothing on it may wait
  Changes& changes;
  control::Methods& methods;  // of the control socket, whether there is one or not
};

}  // namespace mrpool::engine
