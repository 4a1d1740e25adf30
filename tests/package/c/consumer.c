// A user's program in C: opens the soft device, makes a pool and takes an MR of it; checks that the
// library that runs is the one of its headers.
#include <mrpool.h>
#include <stdio.h>

static int failed(const char* what) {
  fprintf(stderr, "%s: %s\n", what, mrpool_error());
  return 1;
}

int main(void) {
  struct mrpool_device* device = NULL;
  struct mrpool_pd* pd = NULL;
  struct mrpool_mr_pool* pool = NULL;
  struct mrpool_lease* lease = NULL;
  const struct mrpool_mr_pool_attr attr = {.size = sizeof attr, .count = 2};
  struct mrpool_mr_pool_stats stats = {.size = sizeof stats};
  if (mrpool_version() != MRPOOL_VERSION) return failed("the version");
  if (mrpool_device_open("uiwarp://127.0.0.1", &device) != 0) return failed("the device");
  if (mrpool_pd_alloc(device, &pd) != 0) return failed("the Pd");
  if (mrpool_mr_pool_init(pd, &attr, &pool) != 0) return failed("the pool");
  lease = mrpool_mr_pool_get(pool);
  if (lease == NULL || mrpool_mr_pool_query(pool, &stats) != 0) return failed("the lease");
  printf("uiwarp: a pool of %u MRs, in C\n", stats.mrs);
  mrpool_mr_pool_put(lease);
  mrpool_mr_pool_destroy(pool);
  mrpool_pd_dealloc(pd);
  mrpool_device_close(device);
  return 0;
}
