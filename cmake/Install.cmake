# Installs libraries, public headers and the CMake package into one tree: lib/, include/, share/.
# setup.py makes that tree the folder of the Python package, so that a wheel serves C++ users, too.
include(CMakePackageConfigHelpers)

set(_iq_config_dir share/cmake/ipex_quant)

# Our libraries find each other and, inside site-packages, torch. A C++ program brings torch itself.
set_target_properties(ipex_quant_runtime PROPERTIES
  INSTALL_RPATH "$ORIGIN;$ORIGIN/../../torch/lib")
install(TARGETS ipex_quant_runtime LIBRARY DESTINATION lib)
if(TARGET ipex_quant_passes)
  set_target_properties(ipex_quant_passes PROPERTIES
    INSTALL_RPATH "$ORIGIN;$ORIGIN/../../torch/lib")
  install(TARGETS ipex_quant_passes LIBRARY DESTINATION lib)
endif()
if(TARGET _C)
  set_target_properties(_C PROPERTIES INSTALL_RPATH "$ORIGIN/lib;$ORIGIN/../torch/lib")
  install(TARGETS _C LIBRARY DESTINATION .)
endif()

install(FILES
  include/ipex_quant/compile.h
  include/ipex_quant/export.h
  include/ipex_quant/runtime.h
  include/ipex_quant/steady.h
  DESTINATION include/ipex_quant)

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/ipex_quantConfig.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/ipex_quantConfig.cmake"
  INSTALL_DESTINATION "${_iq_config_dir}")
write_basic_package_version_file(
  "${CMAKE_CURRENT_BINARY_DIR}/ipex_quantConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/ipex_quantConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/ipex_quantConfigVersion.cmake"
  DESTINATION "${_iq_config_dir}")
