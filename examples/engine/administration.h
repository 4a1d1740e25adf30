// What a daemon's main thread offers to the other code that runs on it: the methods of the control
// socket, and changes of the configuration that is served.
//
// Thread safety: the main loop's thread. Ownership: the main program (daemon.cc) owns it; it ends
// before the application.
#pragma once

#include <boost/asio/io_context.hpp>

#include "examples/control/methods.h"
#include "examples/engine/changes.h"

namespace mrpool::engine {

struct Administration {
  boost::asio::io_context& loop;  // of the main thread; no handler on it may block
  Changes& changes;
  control::Methods& methods;  // of the control socket; exists even without a socket
};

}  // namespace mrpool::engine
