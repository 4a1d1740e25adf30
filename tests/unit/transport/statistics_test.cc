// TransportStatistics as a table: names, merging, and what is not counted.
#include "mrpool/statistics.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "transport/uiwarp/terminate.h"

namespace mrpool {
namespace {

TEST(Statistics, EveryCounterHasANameOfItsOwnAndAText) {
  std::set<std::string_view> names;
  for (const TransportCounter& counter : kTransportCounters) {
    EXPECT_TRUE(names.insert(counter.name).second) << counter.name;
    EXPECT_FALSE(counter.text.empty()) << counter.name;
    EXPECT_EQ(counter.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos)
        << counter.name;
  }
}

TEST(Statistics, VisitsEveryCounterWithItsName) {
  TransportStatistics statistics;
  uint64_t value = 0;
  for (const TransportCounter& counter : kTransportCounters) statistics.*counter.value = ++value;
  std::map<std::string, uint64_t> seen;
  for_each(statistics, [&](std::string_view name, uint64_t v) { seen[std::string(name)] = v; });
  EXPECT_EQ(seen.size(), kTransportCounters.size());
  EXPECT_EQ(seen["crc_errors"], statistics.crc_errors);
  EXPECT_EQ(seen["terminates_sent_mpa_crc"], statistics.terminates_sent_mpa_crc);
}

TEST(Statistics, LeavesOutWhatIsNotCounted) {
  TransportStatistics statistics = not_counted();
  statistics.send_messages_sent = 0;
  int calls = 0;
  for_each(statistics, [&](std::string_view name, uint64_t value) {
    ++calls;
    EXPECT_EQ(name, "send_messages_sent");
    EXPECT_EQ(value, 0u);
  });
  EXPECT_EQ(calls, 1);
}

TEST(Statistics, MergesSumsMaximaAndWhatOnlyOneSideCounts) {
  TransportStatistics a, b;
  a.crc_errors = 2;
  b.crc_errors = 3;
  a.reads_outstanding_max = 7;
  b.reads_outstanding_max = 4;
  a.fpdus_sent = TransportStatistics::kNotCounted;
  b.fpdus_sent = 5;
  a.fpdus_received = 6;
  b.fpdus_received = TransportStatistics::kNotCounted;
  a.send_bytes_sent = b.send_bytes_sent = TransportStatistics::kNotCounted;
  merge(a, b);
  EXPECT_EQ(a.crc_errors, 5u);
  EXPECT_EQ(a.reads_outstanding_max, 7u);
  EXPECT_EQ(a.fpdus_sent, 5u);
  EXPECT_EQ(a.fpdus_received, 6u);
  EXPECT_EQ(a.send_bytes_sent, TransportStatistics::kNotCounted);
}

TEST(Statistics, KnowsTheTerminatesThatUiwarpSends) {
  namespace term = uiwarp::term;
  for (const uiwarp::TerminateCode& code :
       {term::kLocalCatastrophic, term::kReadInvalidStag,       term::kReadBounds,
        term::kReadAccess,        term::kReadNotAssociated,     term::kReadOffsetWrap,
        term::kCannotInvalidate,  term::kProtectionUnspecified, term::kRdmapVersion,
        term::kUnexpectedOpcode,  term::kStreamCatastrophic,    term::kOperationUnspecified,
        term::kTaggedInvalidStag, term::kTaggedBounds,          term::kTaggedNotAssociated,
        term::kTaggedOffsetWrap,  term::kTaggedDdpVersion,      term::kUntaggedQueue,
        term::kUntaggedNoBuffer,  term::kUntaggedMsnRange,      term::kUntaggedOffset,
        term::kUntaggedTooLong,   term::kUntaggedDdpVersion,    term::kMpaCrc,
        term::kMpaLength,         term::kMpaBadFrame,           term::kMpaInsufficientIrd,
        term::kMpaNoMatchingRtr}) {
    const TerminateCounter& counter = terminate_counter(code.layer, code.type, code.code);
    EXPECT_EQ(counter.layer, code.layer);
    EXPECT_EQ(counter.error_type, code.type);
    EXPECT_EQ(counter.error_code, code.code);
  }
  EXPECT_EQ(terminate_counter(1, 2, 0x77).sent, &TransportStatistics::terminates_sent_other);
}

TEST(Statistics, AsTextIsALineForEveryCountedCounter) {
  TransportStatistics statistics = not_counted();
  statistics.atomic_requests_sent = 3;
  statistics.crc_errors = 0;
  EXPECT_EQ(to_text(statistics), "atomic_requests_sent 3\ncrc_errors 0\n");
  EXPECT_EQ(to_text(PdStatistics::not_counted()), "");
}

}  // namespace
}  // namespace mrpool
