// What a protocol does for the group of gateways: it begins and ends the service of ANA groups
// (iSER: target port groups).
//
// Thread safety: the main loop's thread; completions too, and never from inside the call.
// Ownership: a completion that was not called may be dropped.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "examples/gateway/records.h"

namespace mrpool::gateway {

class Served {
 public:
  using Done = std::function<void(bool)>;

  // At the start and until serve() every group is inaccessible for hosts.
  // The client of the group is a new one, so its stores are open with one that is gone: opens them
  // again.
  virtual void client_changed(std::string_view group) = 0;
  // Opens the stores of the group that have to be opened again, reads their sizes, and reads the
  // reservations of its namespaces.
  virtual void prepare(std::string_view group, Done done) = 0;
  // Hosts may use the group.
  virtual void serve(std::string_view group) = 0;
  // Commands get a path error from now on. Commands that have begun end with one as soon as they
  // can.
  virtual void stop(std::string_view group) = 0;
  // Commands get a path error from now on. `done` when those that have begun have ended, in the
  // store too; it gets true if the store has answered all of them.
  virtual void drain(std::string_view group, Done done) = 0;
  // A store of the group has found its client fenced.
  virtual bool fenced(std::string_view group) = 0;
  // The records as they were read.
  virtual void records_read(const Records& /*records*/) {}

 protected:
  ~Served() = default;
};

}  // namespace mrpool::gateway
