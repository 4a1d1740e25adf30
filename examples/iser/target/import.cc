#include "examples/iser/target/import.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/json_text.h"
#include "examples/iser/target/import_groups.h"
#include "examples/iser/target/import_stores.h"
#include "examples/protocol/iscsi/text.h"

namespace mrpool::iser_target {
namespace {

using base::ImportObject;
using base::ImportWeight;

constexpr std::string_view kBackstores = "/backstores/";

struct ImportedTarget {
  std::string path;
  std::string name;
  std::vector<ImportedGroup> groups;
};

class Importer {
 public:
  Importer(const base::JsonText& text, const engine::ImportOptions& options)
      : options_(options), log_(text), root_(text.value.as_object(), {}, log_) {}

  absl::StatusOr<Imported> run() {
    stores_ = read_stores(root_, options_);
    root_.objects("targets", [this](ImportObject& each) { read_target(each); });
    Imported result;
    read_discovery(result.config);
    root_.finish();
    if (!log_.status().ok()) return log_.status();
    for (const ImportedTarget& each : targets_) serve(each, result.config);
    name_stores(result.config);
    check_portals(result.config);
    check_parameters(result.config);
    // The kernel authenticates discovery only if discovery authentication is enabled.
    result.config.open_discovery =
        !result.config.discovery.incoming && !closed_discovery_ &&
        std::ranges::any_of(result.config.targets, [](const TargetConfig& target) {
          return target.authentication.incoming ||
                 (target.initiators &&
                  std::ranges::any_of(*target.initiators, [](const InitiatorConfig& each) {
                    return each.authentication.incoming.has_value();
                  }));
        });
    result.notes = log_.take_notes();
    return result;
  }

 private:
  void read_target(ImportObject& object) {
    ImportedTarget target;
    target.path = object.path();
    target.name = iscsi::normal_iscsi_name(object.text("wwn"));
    const std::string fabric = object.text("fabric");
    if (fabric != "iscsi") {
      object.known({"tpgs", "attributes", "parameters"});
      return object.note(ImportWeight::kLost, "fabric",
                         absl::StrCat("is \"", fabric, "\": this daemon supports iSCSI only, so ",
                                      target.name, " is not served"));
    }
    object.objects(
        "tpgs", [&](ImportObject& each) { target.groups.push_back(read_group(each, options_)); });
    object.known({"attributes", "parameters"});
    targets_.push_back(std::move(target));
  }

  void read_discovery(Config& config) {
    root_.objects("fabric_modules", [&](ImportObject& object) {
      if (object.text("name") != "iscsi") {
        return object.known({"discovery_userid", "discovery_password", "discovery_mutual_userid",
                             "discovery_mutual_password", "discovery_enable_auth", "attributes",
                             "parameters"});
      }
      closed_discovery_ = object.flag("discovery_enable_auth", false);
      iscsi::Authentication discovery{
          .incoming = read_account(object, "discovery_userid", "discovery_password"),
          .outgoing = read_account(object, "discovery_mutual_userid", "discovery_mutual_password")};
      if (closed_discovery_) config.discovery = std::move(discovery);
      object.known({"attributes", "parameters"});
    });
  }

  void serve(const ImportedTarget& target, Config& config) {
    const auto leave_out = [&](std::string_view path, std::string_view why) {
      log_.note(ImportWeight::kLost, path,
                absl::StrCat(target.name, " is not served: ", std::string(why)));
    };
    const ImportedGroup* chosen = nullptr;
    for (const ImportedGroup& group : target.groups) {
      if (!group.enabled || group.portals.empty()) continue;
      if (chosen == nullptr) {
        chosen = &group;
        continue;
      }
      log_.note(ImportWeight::kLost, group.path,
                absl::StrCat("a target has one portal group here: the one of ",
                             log_.place(chosen->path), " is served, this one is not"));
    }
    if (chosen == nullptr) {
      return leave_out(target.path, "no portal group is enabled and has a portal with iSER");
    }
    TargetConfig made;
    made.name = target.name;
    made.alias = chosen->alias;
    made.line = log_.line(target.path);
    add_luns(admit(*chosen, made), made);
    if (made.luns.empty()) return leave_out(chosen->path, "there is no LUN to serve");
    for (const std::string& portal : chosen->portals) portals_[portal].insert(made.name);
    groups_.push_back(chosen);
    config.targets.push_back(std::move(made));
  }

  // Makes a named store of each storage object with one LUN.
  void name_stores(Config& config) {
    std::map<std::string, std::vector<LunConfig*>> uses;
    auto store = used_.begin();
    for (TargetConfig& target : config.targets) {
      for (LunConfig& lun : target.luns) uses[*store++].push_back(&lun);
    }
    for (auto& [path, luns] : uses) {
      const std::string name = path.substr(path.find('/', kBackstores.size()) + 1);
      if (luns.size() != 1 || !engine::valid_store_name(name)) continue;
      if (engine::find_store(config.stores, name) != nullptr) continue;  // of another plugin
      LunConfig& lun = *luns.front();
      config.stores.push_back({.name = name,
                               .storage = std::exchange(lun.storage, {}),
                               .block_size = std::exchange(lun.block_size, 0),
                               .uuid = {},
                               .line = lun.line});
      lun.store = name;
    }
  }

  // Sets the access list; returns the LUNs that its initiators see.
  ImportedLuns admit(const ImportedGroup& group, TargetConfig& target) {
    const bool anybody = group.anybody && (!group.proof || group.account.incoming);
    if (group.anybody && !anybody) {
      log_.note(ImportWeight::kMinor, group.path,
                "initiators without an ACL have no account, so they cannot log in there either");
    }
    return anybody ? admit_anybody(group, target) : admit_listed(group, target);
  }

  ImportedLuns admit_anybody(const ImportedGroup& group, TargetConfig& target) {
    if (group.proof) target.authentication = group.account;
    ImportedLuns luns = group.luns;
    for (auto& [number, lun] : luns) lun.read_only = group.anybody_reads;
    for (const ImportedAcl& acl : group.acls) {
      if (acl.proof && acl.account != target.authentication) {
        log_.note(ImportWeight::kWider, acl.path,
                  absl::StrCat(acl.name,
                               " would be admitted like all others, not by its own "
                               "account; set generate_node_acls=0, or take the ACL out"));
      }
      if (acl.luns == luns) continue;
      const bool only_reads = std::ranges::equal(acl.luns, luns, [](const auto& a, const auto& b) {
        return a.first == b.first && a.second.store == b.second.store && b.second.read_only;
      });
      log_.note(only_reads ? ImportWeight::kLost : ImportWeight::kWider, acl.path,
                only_reads ? absl::StrCat(acl.name, " could write, and can only read now")
                           : absl::StrCat(acl.name,
                                          " would see the common LUNs, not its "
                                          "own"));
    }
    return luns;
  }

  ImportedLuns admit_listed(const ImportedGroup& group, TargetConfig& target) {
    target.initiators.emplace();
    std::vector<const ImportedAcl*> admitted;
    for (const ImportedAcl& acl : group.acls) {
      if (acl.proof && !acl.account.incoming) {
        log_.note(ImportWeight::kMinor, acl.path,
                  absl::StrCat(acl.name, " has no account, so it cannot log in there either"));
        continue;
      }
      if (!acl.proof && acl.account.incoming) {
        log_.note(ImportWeight::kMinor, acl.path,
                  absl::StrCat(acl.name, " need not prove its account there either"));
      }
      target.initiators->push_back(
          {.name = acl.name, .authentication = acl.proof ? acl.account : iscsi::Authentication{}});
      admitted.push_back(&acl);
    }
    if (admitted.empty()) return group.luns;
    ImportedLuns luns = admitted[0]->luns;
    for (const ImportedAcl* acl : admitted) {
      if (acl->luns == luns) continue;
      log_.note(ImportWeight::kWider, acl->path,
                absl::StrCat("here all initiators of a target see the same LUNs, and ", acl->name,
                             " has others than ", admitted[0]->name));
      luns = group.luns;  // all, if the user accepts that
    }
    return luns;
  }

  void add_luns(const ImportedLuns& luns, TargetConfig& target) {
    for (const auto& [number, lun] : luns) {
      const auto found = stores_.find(lun.store);
      if (found == stores_.end()) {
        log_.note(ImportWeight::kLost, lun.path,
                  absl::StrCat("the file has no storage object ", lun.store));
        continue;
      }
      const ImportedStore& store = found->second;
      if (store.spec.empty()) {
        log_.note(ImportWeight::kLost, lun.path,
                  absl::StrCat("LUN ", number, " is not served: ", store.why_not));
        continue;
      }
      const bool read_only = lun.read_only || store.read_only;
      if (read_only && !store.file) {
        log_.note(
            ImportWeight::kWider, lun.path,
            absl::StrCat("LUN ", number, " could be written: memory is never read-only here"));
      }
      LunConfig& made = target.luns.emplace_back();
      made.storage = absl::StrCat(store.spec, read_only && store.file ? ",ro" : "");
      made.lun = uint16_t(number);
      made.block_size = store.block_size;
      made.names = store.names;
      if (const auto group = store.groups.find(lun.alua); group != store.groups.end()) {
        made.alua_group = group->second.id;
        made.alua_state = group->second.state;
        made.explicit_alua = group->second.explicit_alua;
      }
      made.line = log_.line(lun.path);
      used_.push_back(lun.store);
    }
  }

  // Every portal serves all targets.
  void check_portals(Config& config) {
    for (const auto& [portal, names] : portals_) {
      config.listen.push_back(portal);
      for (const TargetConfig& target : config.targets) {
        if (names.contains(target.name)) continue;
        log_.note(ImportWeight::kWider, "targets",
                  absl::StrCat(target.name, " would be reached by ", portal,
                               ", which is not a portal of it"));
      }
    }
  }

  // Merges the parameters of all targets.
  void check_parameters(Config& config) {
    for (const auto& [key, member, to] :
         {std::tuple{"InitialR2T", &ImportedGroup::initial_r2t, &config.initial_r2t},
          std::tuple{"ImmediateData", &ImportedGroup::immediate_data, &config.immediate_data}}) {
      if (groups_.empty()) return;
      *to = groups_[0]->*member;
      for (const ImportedGroup* group : groups_) {
        if (group->*member == *to) continue;
        log_.note(ImportWeight::kMinor, group->path,
                  absl::StrCat("all targets have one ", key, ", the one of the first"));
      }
    }
  }

  const engine::ImportOptions& options_;
  base::ImportLog log_;
  ImportObject root_;
  std::map<std::string, ImportedStore> stores_;
  std::vector<ImportedTarget> targets_;
  std::vector<std::string> used_;  // the storage object of each LUN that is served, in order
  std::vector<const ImportedGroup*> groups_;              // that are served
  std::map<std::string, std::set<std::string>> portals_;  // by portal: the targets that have it
  bool closed_discovery_ = false;
};

}  // namespace

absl::StatusOr<Imported> import_targetcli(std::string_view json,
                                          const engine::ImportOptions& options) {
  const auto text = engine::parse_object(json);
  if (!text.ok()) return text.status();
  return Importer(*text, options).run();
}

}  // namespace mrpool::iser_target
