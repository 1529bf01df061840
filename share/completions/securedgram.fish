###-begin-securedgram-completions-###
#
# yargs command completion script
#
# Installation: securedgram completion > ~/.config/fish/completions/securedgram.fish
#
complete -f -c securedgram -a '(securedgram --get-yargs-completions (commandline -o)[2..-1])'
###-end-securedgram-completions-###

###-begin-sg-send-completions-###
#
# yargs command completion script
#
# Installation: sg-send completion > ~/.config/fish/completions/sg-send.fish
#
complete -f -c sg-send -a '(sg-send --get-yargs-completions (commandline -o)[2..-1])'
###-end-sg-send-completions-###

###-begin-sg-recv-completions-###
#
# yargs command completion script
#
# Installation: sg-recv completion > ~/.config/fish/completions/sg-recv.fish
#
complete -f -c sg-recv -a '(sg-recv --get-yargs-completions (commandline -o)[2..-1])'
###-end-sg-recv-completions-###

###-begin-sg-clean-completions-###
#
# yargs command completion script
#
# Installation: sg-clean completion > ~/.config/fish/completions/sg-clean.fish
#
complete -f -c sg-clean -a '(sg-clean --get-yargs-completions (commandline -o)[2..-1])'
###-end-sg-clean-completions-###

