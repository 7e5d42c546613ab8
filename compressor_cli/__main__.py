from compressor_cli.cli.main import main

main()
