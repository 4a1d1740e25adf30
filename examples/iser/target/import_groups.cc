#include "examples/iser/target/import_groups.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/iser/target/limits.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/text.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {
namespace {

using base::ImportObject;
using base::ImportWeight;
using Usual = ImportObject::Usual;

constexpr uint64_t kMaxNumber = 0xffff;

constexpr Usual kAttributes[] = {
    {"default_erl", "0", ImportWeight::kMinor, "error recovery is that of level 0"},
    {"fabric_prot_type", "0", ImportWeight::kLost, "initiators see no protection information"},
    {"t10_pi", "0", ImportWeight::kLost, "initiators see no protection information"},
    {"tpg_enabled_sendtargets", "1", ImportWeight::kMinor, "discovery lists what is served"},
};
constexpr Usual kParameters[] = {
    {"MaxConnections", "1", ImportWeight::kMinor, "a session has one connection"},
    {"MaxOutstandingR2T", "1", ImportWeight::kMinor, "this daemon negotiates its own"},
    {"DefaultTime2Wait", "2", ImportWeight::kMinor, "this daemon negotiates its own"},
    {"DefaultTime2Retain", "20|0", ImportWeight::kMinor, "this daemon negotiates its own"},
    {"ErrorRecoveryLevel", "0", ImportWeight::kMinor, "error recovery is that of level 0"},
    {"DataPDUInOrder", "Yes", ImportWeight::kMinor, "this daemon negotiates its own"},
    {"DataSequenceInOrder", "Yes", ImportWeight::kMinor, "this daemon negotiates its own"},
};

void read_attributes(ImportObject& object, ImportedGroup& group) {
  group.proof = object.flag("authentication", true);
  group.anybody = object.flag("generate_node_acls", false);
  group.anybody_reads = object.flag("demo_mode_write_protect", true);
  group.listed_reads = object.flag("prod_mode_write_protect", false);
  object.usual(kAttributes);
  object.known({"cache_dynamic_acls", "default_cmdsn_depth", "demo_mode_discovery",
                "login_keys_workaround", "login_timeout", "netif_timeout"});
}

void read_parameters(ImportObject& object, ImportedGroup& group) {
  group.alias = object.text("TargetAlias");
  group.initial_r2t = object.flag("InitialR2T", true);
  group.immediate_data = object.flag("ImmediateData", true);
  object.usual(kParameters);
  object.known({"AuthMethod", "DataDigest", "HeaderDigest", "FirstBurstLength", "IFMarkInt",
                "IFMarker", "MaxBurstLength", "MaxRecvDataSegmentLength",
                "MaxXmitDataSegmentLength", "OFMarkInt", "OFMarker"});
}

void read_luns(ImportObject& object, ImportedGroup& group) {
  object.objects("luns", [&](ImportObject& each) {
    ImportedLun lun{.store = each.text("storage_object"),
                    .path = each.path(),
                    .alua = each.text("alua_tg_pt_gp_name")};
    each.known({"alias"});
    group.luns[each.number("index", 0, kMaxNumber)] = std::move(lun);
  });
}

void read_portals(ImportObject& object, const engine::ImportOptions& options,
                  ImportedGroup& group) {
  object.objects("portals", [&](ImportObject& each) {
    const std::string host = each.text("ip_address"), port = each.text("port");
    const bool iser = each.flag("iser", false);
    each.known({"offload"});
    if (!iser) {
      return each.note(ImportWeight::kLost, "iser",
                       "is off: this daemon supports iSER only, so the portal is omitted");
    }
    std::string address = engine::import_address(options, host, port);
    if (const auto parsed = Address::parse(address); !parsed.ok()) {
      return each.fail("ip_address", std::string(parsed.status().message()));
    }
    group.portals.push_back(std::move(address));
  });
}

iscsi::Authentication read_accounts(ImportObject& object) {
  return {.incoming = read_account(object, "chap_userid", "chap_password"),
          .outgoing = read_account(object, "chap_mutual_userid", "chap_mutual_password")};
}

// Reads an initiator's LUNs of the group, with its own numbers and access rights.
void read_mapped(ImportObject& object, const ImportedGroup& group, ImportedAcl& acl) {
  object.objects("mapped_luns", [&](ImportObject& each) {
    const uint64_t number = each.number("index", 0, kMaxNumber);
    const uint64_t of_group = each.number("tpg_lun", 0, kMaxNumber);
    const bool protect = each.flag("write_protect", false);
    each.known({"alias"});
    const auto lun = group.luns.find(of_group);
    if (lun == group.luns.end()) {
      return each.fail("tpg_lun", absl::StrCat("there is no LUN ", of_group, " in the group"));
    }
    ImportedLun& mapped = acl.luns[number] = lun->second;
    mapped.read_only = protect || group.listed_reads;
  });
}

void read_acls(ImportObject& object, ImportedGroup& group) {
  object.objects("node_acls", [&](ImportObject& each) {
    ImportedAcl acl;
    acl.path = each.path();
    acl.name = iscsi::normal_iscsi_name(each.text("node_wwn"));
    acl.proof = group.proof;
    each.object("attributes", [&](ImportObject& attributes) {
      const std::string proof = attributes.text("authentication", "-1");  // -1: the group's
      if (proof != "-1") acl.proof = attributes.flag("authentication", true);
      attributes.known({"dataout_timeout", "dataout_timeout_retries", "default_erl",
                        "nopin_response_timeout", "nopin_timeout", "random_datain_pdu_offsets",
                        "random_datain_seq_offsets", "random_r2t_offsets"});
    });
    acl.account = read_accounts(each);
    read_mapped(each, group, acl);
    each.known({"parameters", "tag"});
    group.acls.push_back(std::move(acl));
  });
}

}  // namespace

std::optional<iscsi::Credentials> read_account(ImportObject& object, std::string_view user,
                                               std::string_view password) {
  iscsi::Credentials account{object.text(user), object.text(password)};
  if (account.user.empty() && account.secret.empty()) return std::nullopt;
  iscsi::Credentials checked;
  const absl::Status status = iscsi::parse_credentials("user:" + account.secret, checked);
  if (!status.ok()) object.fail(password, std::string(status.message()));
  if (account.user.empty()) object.fail(password, "is a secret without a user");
  return account;
}

ImportedGroup read_group(ImportObject& object, const engine::ImportOptions& options) {
  ImportedGroup group;
  group.path = object.path();
  group.enabled = object.flag("enable", false);
  object.object("attributes", [&](ImportObject& each) { read_attributes(each, group); });
  object.object("parameters", [&](ImportObject& each) { read_parameters(each, group); });
  read_luns(object, group);
  read_portals(object, options, group);
  group.account = read_accounts(object);
  read_acls(object, group);
  object.known({"tag"});
  return group;
}

}  // namespace mrpool::iser_target
