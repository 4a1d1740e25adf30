#include "pool/free_list_impl.h"

namespace mrpool::internal {

template class FreeList<MachinePlatform>;

}  // namespace mrpool::internal
