#include "tests/sim/gateways/cluster.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace mrpool::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;

ModelCluster::ModelCluster(Simulation& simulation, Events& events, Ledger& ledger, size_t blocks)
    : simulation_(simulation), events_(events), ledger_(ledger), blocks_(blocks) {}

// Mostly below a millisecond; sometimes packets are lost and sent again.
Nanoseconds ModelCluster::delay() {
  const uint64_t kind = simulation_.faults ? simulation_.below(1000) : 999;
  if (kind < 3) return milliseconds(simulation_.below(4000));
  if (kind < 20) return milliseconds(simulation_.below(250));
  return microseconds(20 + simulation_.below(400));
}

void ModelCluster::travel(ClusterPath& path, std::function<void()> arrive) {
  if (path.cut) {
    path.held.push_back(
        [this, &path, arrive = std::move(arrive)]() mutable { travel(path, std::move(arrive)); });
    return;
  }
  events_.after(delay(), std::move(arrive));
}

void ModelCluster::travel_in_order(ClusterPath& path, Nanoseconds& last,
                                   std::function<void()> arrive) {
  if (path.cut) {
    path.held.push_back([this, &path, &last, arrive = std::move(arrive)]() mutable {
      travel_in_order(path, last, std::move(arrive));
    });
    return;
  }
  last = std::max(last + Nanoseconds(1), events_.now() + delay());
  events_.at(last, std::move(arrive));
}

void ModelCluster::heal(ClusterPath& path) {
  path.cut = false;
  for (auto& send : std::exchange(path.held, {})) send();
}

std::string ModelCluster::new_client() {
  std::string name = "client" + std::to_string(++clients_made_);
  clients_[name].epoch = epoch_;
  return name;
}

void ModelCluster::execute(Osd& osd, std::function<void()> work) {
  const bool slow = events_.now() < osd.slow_until;
  const Nanoseconds time = slow ? Nanoseconds(milliseconds(simulation_.below(300)))
                                : Nanoseconds(microseconds(10 + simulation_.below(50)));
  osd.free = std::max(osd.free, events_.now()) + time;
  // All that waits is done when the OSD is well again.
  if (slow) osd.free = std::min(osd.free, osd.slow_until);
  events_.at(osd.free, std::move(work));
}

void ModelCluster::io(ClusterPath& path, const std::string& client, size_t block,
                      const BlockValue* value, std::function<void(Answer)> done) {
  const size_t number = block % kOsds;
  const bool write = value != nullptr;
  const BlockValue content = write ? *value : BlockValue();
  const uint64_t epoch = clients_[client].epoch;
  auto at_osd = [this, &path, client, block, number, write, content, epoch,
                 done = std::move(done)]() mutable {
    Osd& osd = osds_[number];
    execute(osd, [this, &path, &osd, client, block, write, content, epoch,
                  done = std::move(done)]() mutable {
      osd.epoch = std::max(osd.epoch, epoch);
      Answer answer{.fenced = clients_[client].fenced_at <= osd.epoch};
      if (answer.fenced) {
        ++refused;
      } else if (write) {
        blocks_[block] = content;
        ledger_.check_stored(block, content);
      }
      answer.value = blocks_[block];
      travel(path, [answer, done = std::move(done)] { done(answer); });
    });
  };
  travel_in_order(path, clients_[client].arrives[number], std::move(at_osd));
}

void ModelCluster::call(ClusterPath& path, std::function<void(gateway::Records&)> work,
                        std::function<void()> done) {
  travel(path, [this, &path, work = std::move(work), done = std::move(done)]() mutable {
    execute(osds_[0], [this, &path, work = std::move(work), done = std::move(done)]() mutable {
      work(records_);
      check_saved();
      travel(path, std::move(done));
    });
  });
}

void ModelCluster::fence(ClusterPath& path, std::string client, std::vector<std::string> clients,
                         std::function<void()> done) {
  if (path.no_monitor) return;
  if (simulation_.plant == Plant::kNoFence) {
    travel(path, std::move(done));
    return;
  }
  // The monitors agree on a map, or only have to look at the latest.
  const Nanoseconds time =
      clients.empty() ? Nanoseconds() : milliseconds(5 + simulation_.below(100));
  auto made = [this, &path, client = std::move(client), clients = std::move(clients),
               done = std::move(done)]() mutable {
    if (!clients.empty()) ++epoch_;
    const uint64_t epoch = epoch_;
    for (const std::string& name : clients) {
      Client& fenced = clients_[name];
      fenced.fenced_at = std::min(fenced.fenced_at, epoch);
    }
    if (!clients.empty()) publish(epoch);
    if (simulation_.plant == Plant::kEpochNotWaited) {
      travel(path, std::move(done));
      return;
    }
    travel(path, [this, client, epoch, done = std::move(done)] {
      Client& waits = clients_[client];
      waits.epoch = std::max(waits.epoch, epoch);
      done();
    });
  };
  travel(path,
         [this, time, made = std::move(made)]() mutable { events_.after(time, std::move(made)); });
}

// A new map reaches OSDs and clients one by one.
void ModelCluster::publish(uint64_t epoch) {
  const auto later = [&]() -> Nanoseconds {
    return milliseconds(simulation_.below(simulation_.chance(300) ? 4000 : 200));
  };
  for (Osd& osd : osds_) {
    events_.after(later(), [&osd, epoch] { osd.epoch = std::max(osd.epoch, epoch); });
  }
  for (auto& [name, client] : clients_) {
    events_.after(later(),
                  [&client = client, epoch] { client.epoch = std::max(client.epoch, epoch); });
  }
}

void ModelCluster::slow_down(uint32_t osd, Nanoseconds time) {
  osds_[osd].slow_until = events_.now() + time;
}

void ModelCluster::check_saved() const {
  for (auto entry = records_.lower_bound("pr-"); entry != records_.end(); ++entry) {
    if (!entry->first.starts_with("pr-")) break;
    const size_t group = size_t(entry->first[3] - '0');
    const Keys& least = ledger_.keys(group);
    ledger_.check_keys(group, least, parse_keys(entry->second, least.size()), "in the cluster");
  }
}

std::string ModelCluster::state() const {
  std::string text = "cluster: map " + std::to_string(epoch_) + ", OSDs have";
  for (const Osd& osd : osds_) text += " " + std::to_string(osd.epoch);
  for (const auto& [key, record] : records_) text += "; " + key + "=" + record;
  return text + "\n";
}

std::string serialize_keys(const Keys& keys) {
  std::string text;
  for (const uint64_t key : keys) text += std::to_string(key) + ' ';
  return text;
}

Keys parse_keys(std::string_view text, size_t hosts) {
  Keys keys(hosts);
  for (uint64_t& key : keys) {
    const size_t end = std::min(text.find(' '), text.size());
    std::from_chars(text.data(), text.data() + end, key);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return keys;
}

}  // namespace mrpool::sim
