from metriscope.cli import main

main()
