// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/terminal.h"
#include "cli/text_table.h"

namespace forall {
namespace {

absl::Status ListSupernets(const CommandContext& context) {
  Client client(context.controller);
  TextTable table({"SUPERNET", "SPACE", "DATASET", "MIB", "SHA256"});
  v1::ListSupernetsRequest request;
  request.set_page_size(1000);
  do {
    FORALL_ASSIGN_OR_RETURN(
        const v1::ListSupernetsResponse page,
        client.Call(client.search(), &v1::SearchService::Stub::ListSupernets, request));
    for (const v1::Supernet& supernet : page.supernets()) {
      table.AddRow({supernet.name(),
                    absl::StrCat(supernet.search_space(), " rev ", supernet.revision()),
                    supernet.dataset(),
                    absl::StrFormat("%.1f", static_cast<double>(supernet.size_bytes()) / 1048576),
                    supernet.sha256()});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  std::cout << table.Render(OutputWidth());
  return absl::OkStatus();
}

struct AddOptions {
  std::string id;
  std::string file;
};

absl::Status AddSupernet(const AddOptions& options, const CommandContext& context) {
  FORALL_RETURN_IF_ERROR(RefuseCheckpoint(options.file, "forall supernet import"));
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const std::string sha256, client.UploadArtifact(options.file));
  v1::CreateSupernetRequest request;
  request.set_supernet_id(options.id);
  request.set_sha256(sha256);
  FORALL_ASSIGN_OR_RETURN(
      const v1::Supernet supernet,
      client.Call(client.search(), &v1::SearchService::Stub::CreateSupernet, request));
  std::cout << supernet.name() << "  sha256 " << supernet.sha256() << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddSupernetCommands(CLI::App* app, CommandContext* context) {
  CLI::App* list = app->add_subcommand("supernets", "List the supernets the controller holds");
  list->callback([context] { context->action = [context] { return ListSupernets(*context); }; });
  auto options = std::make_shared<AddOptions>();
  CLI::App* add = app->add_subcommand(
      "add-supernet", "Give the controller a supernet (a weights.safetensors file)");
  add->add_option("id", options->id, "Name to give it")->required();
  add->add_option("file", options->file, "weights.safetensors of the package")
      ->required()
      ->check(CLI::ExistingFile);
  add->callback([options, context] {
    context->action = [options, context] { return AddSupernet(*options, *context); };
  });
}

}  // namespace forall
