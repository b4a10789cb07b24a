"""Other people's recordings as datasets: ALOHA's HDF5, RLDS's TFRecord; bags are read in `pi0_ros.ros.bag_import`."""
