// SPDX-License-Identifier: Apache-2.0
// Brings supernets that lie on disk into a controller.
#ifndef FORALL_SEARCH_SERVICE_SUPERNET_LOADER_H_
#define FORALL_SEARCH_SERVICE_SUPERNET_LOADER_H_

#include <string>

#include "absl/status/status.h"
#include "search/controller/controller.h"
#include "search/store/artifact_store.h"

namespace forall {

// `source` is [ID=]PATH, where PATH is a package directory or a weights file; without ID it is
// called as its search space. Adding what is there already changes nothing. Errors name the path:
// NotFound, DataLoss, InvalidArgument; AlreadyExists: the id is taken by another file.
absl::Status AddSupernet(const std::string& source, const ArtifactStore& artifacts,
                         Controller* controller);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_SUPERNET_LOADER_H_
