// A user's program: consumer MODEL PICTURE.
#include <galago/galago.h>

#include <iostream>

int main(int, char** argv) {
  galago::EngineOptions options;
  options.model = argv[1];
  options.workload = galago::Workload{"Describe the picture.", 1, 8};
  galago::Engine engine(options);
  galago::Request request;
  request.messages.push_back({galago::Role::user, "Describe the picture.", {galago::load_image(argv[2])}});
  request.sampling.max_new_tokens = 8;
  std::cout << engine.generate(request).text << '\n';
}
