# Finds the torch of the Python that drives the build; sets TORCH_* and the imported target iq_torch.
if(NOT Torch_DIR AND NOT CMAKE_PREFIX_PATH MATCHES "torch")
  find_package(Python3 COMPONENTS Interpreter REQUIRED)
  execute_process(COMMAND ${Python3_EXECUTABLE} -c "import torch; print(torch.utils.cmake_prefix_path)"
    OUTPUT_VARIABLE _torch_prefix OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  list(APPEND CMAKE_PREFIX_PATH "${_torch_prefix}")
endif()
find_package(Torch REQUIRED)

# torch's own headers are not clean under -Wextra -Werror: include them as system headers.
add_library(iq_torch INTERFACE)
target_link_libraries(iq_torch INTERFACE ${TORCH_LIBRARIES})
target_include_directories(iq_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
