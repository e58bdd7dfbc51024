// SPDX-License-Identifier: Apache-2.0
// What tests of image files share: the references beside this file (make_references.py), a scene
// that is the same there, and writers of files.
#ifndef FORALL_DATA_IMAGE_TESTING_TEST_IMAGES_H_
#define FORALL_DATA_IMAGE_TESTING_TEST_IMAGES_H_

#include <string>

#include "data/image/image_decoder.h"

namespace forall::testing {

// Of the folder with images/ and decoded/.
std::string ReferenceFolder();

// A binary PPM that PIL wrote. Aborts the test on anything else.
RgbImage ReadPpm(const std::string& path);

// make_references.py's scene(width, height).
RgbImage Scene(int width, int height);

// Files of `image` by libjpeg-turbo (4:2:0) and by libpng.
std::string EncodeJpeg(const RgbImage& image, int quality);
std::string EncodePng(const RgbImage& image);

}  // namespace forall::testing

#endif  // FORALL_DATA_IMAGE_TESTING_TEST_IMAGES_H_
