// A verdict as JUnit XML, as GitHub's actions, GitLab, Jenkins and most others read it.
#ifndef BITANCHOR_LIB_FILE_JUNIT_H_
#define BITANCHOR_LIB_FILE_JUNIT_H_

#include <string>

#include "lib/file/report.h"

namespace bitanchor {

// One <testsuite> for the capture and one <testcase> per output; in rule mode per rule and output,
// for the rules alone decide.
//   a wrong answer     <failure>: counts, causes and worst elements
//   inconclusive       <error type="inconclusive"> on each output that did not fail, since the
//                      test could not do its work, which is no proof of a wrong kernel; <skipped>
//                      where the user allowed it
//   not judged         <skipped>
// A verdict without any output or rule has one testcase "verdict". Attributes and order are those
// of the strictest schema in use (Ant's, as windyroad/JUnit-Schema states it), which has hostname
// and timestamp; the hostname is always "localhost".
std::string JunitReport(const Judgement& judgement);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_JUNIT_H_
