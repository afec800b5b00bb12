# Work for the end-to-end test: word counts, regular expressions, sorting, packing, evals, threads.
# Prints only what does not depend on timing or addresses.
use strict;
use warnings;
use threads;
use Thread::Queue;
use Digest::MD5 qw(md5_hex);
use Storable qw(freeze thaw);
use List::Util qw(sum);

my $file = shift @ARGV;
open(my $in, '<', $file) or die "$file: $!";
my @lines = <$in>;
close($in);

# Word counts, and who follows whom.
my (%count, %next);
for my $line (@lines) {
    my @words = split ' ', $line;
    $count{$_}++ for @words;
    push @{ $next{ $words[ $_ - 1 ] } }, $words[$_] for 1 .. $#words;
}
my @ranked = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
printf "words %d first %s followers %d\n", scalar(@ranked), $ranked[0], sum(map { scalar @$_ } values %next);

# Strings that grow, substitutions, captures.
my $text = join '', @lines;
my $hits = () = $text =~ /(\b[aeiou]\w*|\w*que\b)/g;
(my $turned = $text) =~ s/(\w+) (\w+)/$2 $1/g;
$turned =~ tr/a-z/n-za-m/;
printf "hits %d turned %s\n", $hits, md5_hex($turned);

# Records packed and unpacked, frozen and thawed.
my @records = map { { id => $_, line => $lines[$_], words => [ split ' ', $lines[$_] ] } } 0 .. 4999;
my $again = thaw(freeze(\@records));
my $packed = join '', map { pack 'N/a* N', $_->{line}, $_->{id} } @$again;
my @unpacked = unpack '(N/a* N)*', $packed;
printf "records %d packed %s\n", scalar(@unpacked) / 2, md5_hex($packed);

# Code made at run time.
my $total = 0;
for my $n (1 .. 800) {
    my $sub = eval "sub { my \$x = shift; return \$x * $n + length('" . ('y' x $n) . "') }" or die $@;
    $total += $sub->($n);
}
print "code $total\n";

# Threads: each has a clone of everything above, so this allocates and frees a whole interpreter.
my $queue = Thread::Queue->new(0 .. 39);
$queue->end;
my @workers = map {
    threads->create(sub {
        my @found;
        while (defined(my $part = $queue->dequeue)) {
            my %seen;
            for (my $i = $part; $i < @lines; $i += 40) { $seen{ lc $_ }++ for split ' ', $lines[$i] }
            push @found, "$part:" . md5_hex(join ',', map { "$_=$seen{$_}" } sort keys %seen);
        }
        return @found;
    })
} 1 .. 3;
my @results = sort map { $_->join } @workers;
printf "threads %d %s\n", scalar(@results), md5_hex("@results");

# A child that goes on with the heap of its parent.
pipe(my $reader, my $writer) or die $!;
my $pid = fork // die $!;
if (!$pid) {
    close $reader;
    my %copy = %count;
    delete @copy{ @ranked[ 0 .. 99 ] };
    print $writer md5_hex(join ',', sort keys %copy), "\n";
    close $writer;
    exit 0;
}
close $writer;
print "child ", scalar(<$reader>);
waitpid $pid, 0;
die "child failed" if $?;
