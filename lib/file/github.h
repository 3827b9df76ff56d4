// A verdict for GitHub Actions: workflow commands that annotate, and a step summary in Markdown.
#ifndef BITANCHOR_LIB_FILE_GITHUB_H_
#define BITANCHOR_LIB_FILE_GITHUB_H_

#include <string>

#include "lib/file/report.h"

namespace bitanchor {

// For stdout: one line "::error title=...,file=...::message" for each output or rule that fails, or
// one for an inconclusive verdict ("::warning" where the user allowed it); nothing for a pass.
// Nothing in the capture can add a line or a property.
std::string GithubAnnotations(const Judgement& judgement);

// For the file that GITHUB_STEP_SUMMARY names: a few kilobytes of Markdown, which starts and ends
// with a line break, since other steps write there too.
std::string GithubSummary(const Judgement& judgement);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_GITHUB_H_
