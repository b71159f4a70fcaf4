# The package: the program, the library as galago::galago, its headers and the demo model.
include(CMakePackageConfigHelpers)

set(galago_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/galago)
set_target_properties(galago_core PROPERTIES EXPORT_NAME galago OUTPUT_NAME galago)
target_include_directories(galago_core INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

install(TARGETS galago RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS galago_core EXPORT galago_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/galago DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY models/demo DESTINATION ${CMAKE_INSTALL_DATADIR}/galago/models
  FILES_MATCHING PATTERN "*.json" PATTERN "*.safetensors" PATTERN "tokenizer.model" PATTERN "README.md"
  PATTERN "*.png" PATTERN "*.jpg" PATTERN "work" EXCLUDE PATTERN "__pycache__" EXCLUDE)
install(EXPORT galago_targets FILE galago-targets.cmake NAMESPACE galago:: DESTINATION ${galago_package_dir})

configure_package_config_file(cmake/galago-config.cmake.in ${PROJECT_BINARY_DIR}/galago-config.cmake
  INSTALL_DESTINATION ${galago_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/galago-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/galago-config.cmake ${PROJECT_BINARY_DIR}/galago-config-version.cmake
  DESTINATION ${galago_package_dir})
