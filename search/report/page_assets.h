// SPDX-License-Identifier: Apache-2.0
// What every report carries inside: its style sheet and its script.
#ifndef FORALL_SEARCH_REPORT_PAGE_ASSETS_H_
#define FORALL_SEARCH_REPORT_PAGE_ASSETS_H_

namespace forall {

// Light and dark by the reader's preference, and for paper. Colours are told apart by people with
// the usual colour-vision deficiencies; shapes and words repeat what they say.
extern const char kPageStyle[];

// Tooltips over the frontier plot, and other axes for it. Reads #plot-data (PlotDataJson). It sets
// text as text only, never as HTML.
extern const char kPageScript[];

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_PAGE_ASSETS_H_
