// SPDX-License-Identifier: Apache-2.0
// What a controller may be told, one thing after the other, as one message that a fuzzer can
// change: any request of any of its services, and what happens besides (time passes, a worker
// works, the controller is killed).
#ifndef FORALL_SEARCH_SERVICE_TESTING_CALL_SEQUENCE_H_
#define FORALL_SEARCH_SERVICE_TESTING_CALL_SEQUENCE_H_

#include <google/protobuf/message.h>

#include <memory>
#include <string>
#include <vector>

namespace forall::testing {

// An empty sequence. Its type is made of the services' descriptors when the program starts:
//   message Sequence { repeated Call calls = 1; }
//   message Call { oneof call { <one field per method>; int64 advance_ms; bool restart; Work work;
//   } } message Work { string worker; int32 tasks; TaskResult overlay; }
// The field of FleetService.Heartbeat is "FleetService_Heartbeat", of its request's type; a client
// stream is a message of repeated "messages". Work leases so many tasks, one after the other, does
// them as the script of controller_harness.h says, and reports them with the overlay merged in.
const google::protobuf::Message& EmptyCallSequence();

// Sequences to begin from: whole lives of jobs, and each method at least once.
std::vector<std::unique_ptr<google::protobuf::Message>> SeedSequences();

// What fields of requests may well be set to: names, ids, metrics, and "$job", "$trial", "$task",
// "$token", "$artifact", "$key" and "$page", which stand for the last one that was seen in an
// answer.
std::vector<std::string> SequenceWords();

// Full names of the services' methods that RunSequence would not know what to do with.
std::vector<std::string> UndrivenMethods();

struct SequenceResult {
  int calls = 0;     // of methods
  int answered = 0;  // of those, with OK
  int jobs = 0;      // at the end
  int succeeded_jobs = 0;
  int frontier_members = 0;  // of all jobs
};
// Runs the sequence on a new controller with a store in memory, at most `most_calls` of it, and
// CHECKs what must hold whatever was asked: every call is answered, with a message that can be
// sent; the store has refused nothing; what is leased is open in the store, to one worker; no
// frontier holds a dominated point; counts agree. With `reopen`, a controller that is started on
// the store anew says the same of every job. One thread, no waiting: the same sequence does the
// same again.
SequenceResult RunSequence(const google::protobuf::Message& sequence, bool reopen,
                           int most_calls = 60);

}  // namespace forall::testing

#endif  // FORALL_SEARCH_SERVICE_TESTING_CALL_SEQUENCE_H_
